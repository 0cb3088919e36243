"""The loop of a recurrent KAN layer over its steps, with its own derivatives."""

from math import comb, factorial
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.kan.spline import expand


def recur(
    gates: Tensor,
    kernel: Tensor,
    mask: Tensor,
    low: Tensor,
    high: Tensor,
    grid: int,
    order: int,
    dtype: torch.dtype,
    watched: list[Tensor],
) -> Tensor:
    """States after each step, from zero states.

    Args:
        gates: what the inputs add to the gates, shape `(T, D, B, 3 * H)`, at least float32.
        kernel: joint weights of the states' layers, shape `(D, (grid + order + 1) * H, 3 * H)`.
        mask: True at steps that count, shape `(T, D, B, 1)`.
        low: left ends of the states' grids, shape `(D, 1, H)`.
        high: right ends of the states' grids, shape `(D, 1, H)`.
        grid: number of intervals.
        order: degree of the splines, at least 1.
        dtype: in which products are computed.
        watched: tensors whose change in place before the backward pass is to be an error.

    Returns:
        Shape `(T, D, B, H)`.
    """
    if torch.compiler.is_compiling():
        return _Recurrence.apply(gates, kernel, mask, low, high, grid, order, dtype)[0][1:]
    return _RecurrenceAnywhere.apply(gates, kernel, mask, low, high, grid, order, dtype, *watched)[0][1:]


def _by_step(
    gates: Tensor,
    kernel: Tensor,
    mask: Tensor,
    low: Tensor,
    high: Tensor,
    grid: int,
    order: int,
    dtype: torch.dtype,
) -> Tensor:
    """The states, with the first, from plain operations: slow, and differentiable in every way."""
    kernel, width = kernel.to(dtype), gates.shape[-1] // 3
    states = [gates.new_zeros(*gates.shape[1:3], width)]
    with torch.autocast(gates.device.type, enabled=False):
        for own, counts in zip(gates, mask, strict=True):
            h = states[-1]
            channels = expand(h, low, high, grid, order, dtype).flatten(-2)
            hidden = torch.bmm(channels, kernel).to(gates.dtype)
            z, r = torch.sigmoid(own[..., : 2 * width] + hidden[..., : 2 * width]).chunk(2, dim=-1)
            n = torch.tanh(own[..., 2 * width :] + r * hidden[..., 2 * width :])
            states.append(torch.where(counts, torch.lerp(n, h, z), h))
    return torch.stack(states)


class _Recurrence(torch.autograd.Function):
    """The loop over steps, with its own backward pass; the form that a compiler traces.

    Basis channels and their slopes are kept from the forward pass; the kernel's gradient is one product over
    all steps.
    """

    @staticmethod
    def forward(
        gates: Tensor,
        kernel: Tensor,
        mask: Tensor,
        low: Tensor,
        high: Tensor,
        grid: int,
        order: int,
        dtype: torch.dtype,
        *_: Tensor,
    ) -> tuple[Tensor, ...]:
        product = kernel.to(dtype)
        length, width = len(gates), gates.shape[-1] // 3
        states = gates.new_zeros(length + 1, *gates.shape[1:3], width)
        inner = torch.empty_like(gates)  # (T, D, B, [z, r, H_n(h)])
        candidates = gates.new_empty(length, *gates.shape[1:3], width)
        splines = _Splines(low, high, grid, order)
        slopes = gates.new_empty(length, *gates.shape[1:3], grid + order + 1, width)
        basis = torch.empty_like(slopes, dtype=dtype)
        exact = None if dtype == slopes.dtype else torch.empty_like(slopes[0])
        with torch.autocast(gates.device.type, enabled=False):
            for t in range(length):
                h, own = states[t], inner[t]
                channels = basis[t]
                if exact is None:
                    splines(h, channels, slopes[t])
                else:
                    splines(h, exact, slopes[t])
                    channels.copy_(exact)
                own.copy_(torch.bmm(channels.flatten(-2), product))  # (D, B, 3 * H)
                own[..., : 2 * width].add_(gates[t, ..., : 2 * width]).sigmoid_()
                z, r, hidden = own.chunk(3, dim=-1)
                n = torch.addcmul(gates[t, ..., 2 * width :], r, hidden, out=candidates[t]).tanh_()
                torch.where(mask[t], torch.lerp(n, h, z), h, out=states[t + 1])
        splines.scale_slopes(states[:-1], slopes)
        return states, inner, candidates, basis, slopes

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        gates, kernel, mask, low, high, *ctx.sizes = inputs[:8]
        ctx.save_for_backward(gates, kernel, mask, low, high, *output, *inputs[8:])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.inputs = len(inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return (None,) * ctx.inputs
        none = (None,) * (ctx.inputs - 2)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            inputs = ctx.saved_tensors[:5]
            pull = torch.func.vjp(lambda *own: _by_step(*own, *inputs[2:], *ctx.sizes), *inputs[:2])[1]
            return *pull(gradient), *none
        _, kernel, mask, _, _, *kept = ctx.saved_tensors
        to_gates, to_kernel = _pull(gradient[1:], kernel.to(ctx.sizes[2]), mask, *kept[:5])
        return to_gates, to_kernel.to(kernel.dtype), *none


def _pull(
    gradient: Tensor,
    product: Tensor,
    mask: Tensor,
    states: Tensor,
    inner: Tensor,
    candidates: Tensor,
    basis: Tensor,
    slopes: Tensor,
) -> tuple[Tensor, Tensor]:
    """Gradients of the gates and of the kernel from those of the states after each step."""
    turned = product.transpose(1, 2).contiguous()
    to_gates, to_said = (  # in the layout of the gates, and a batch where the gradient is one
        gradient.new_empty_strided(inner.size(), inner.stride()) for _ in range(2)
    )
    carry = torch.zeros_like(states[0])
    with torch.autocast(states.device.type, enabled=False):
        for t in range(len(inner) - 1, -1, -1):
            z, r, hidden = inner[t].chunk(3, dim=-1)
            whole = gradient[t] + carry
            arriving = whole * mask[t]
            h, n = states[t], candidates[t]
            before_tanh = arriving * (1 - z) * (1 - n * n)
            to_z = arriving * (h - n) * (z * (1 - z))
            to_r = before_tanh * hidden * (r * (1 - r))
            to_gates[t] = torch.cat([to_z, to_r, before_tanh], dim=-1)
            said = torch.cat([to_z, to_r, before_tanh * r], dim=-1)
            to_said[t] = said
            back = torch.bmm(said.to(product.dtype), turned).reshape(slopes[t].shape)
            carry = (back * slopes[t]).sum(-2) + arriving * z + (whole - arriving)
        channels, said = (
            rows.transpose(0, 1).reshape(len(turned), -1, size)  # (D, T * B, ...)
            for rows, size in ((basis, product.shape[1]), (to_said, product.shape[2]))
        )
        return to_gates, torch.bmm(channels.transpose(1, 2), said.to(product.dtype))


class _RecurrenceAnywhere(_Recurrence):
    """The form of eager mode: also under `torch.func` and forward-mode derivatives."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _Recurrence.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*inputs[:5])

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor | None, ...]:
        """The pullback is linear in what it pulls back; pulling back through it gives the tangent."""
        inputs = ctx.saved_tensors[:5]
        moved = tuple(
            torch.zeros_like(at) if tangent is None else tangent
            for at, tangent in zip(inputs[:2], tangents, strict=False)
        )
        states, pull, *_ = torch.func.vjp(lambda *own: _by_step(*own, *inputs[2:], *ctx.sizes), *inputs[:2])
        push = torch.func.vjp(pull, torch.zeros_like(states))[1]
        return push(moved)[0], None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], Any]:
        states = torch.func.vmap(lambda *own: _by_step(*own, *inputs[5:8]), in_dims[:5])(*inputs[:5])
        nothing = states.new_empty(0)
        return (states, nothing, nothing, nothing, nothing), (0, None, None, None, None)


class _Splines:
    """Basis channels of states and their slopes, in few passes over memory.

    Args:
        low: see `recur`.
        high: see `recur`.
        grid: see `recur`.
        order: see `recur`.
    """

    def __init__(self, low: Tensor, high: Tensor, grid: int, order: int):
        self.grid, self.order, self.low = grid, order, low
        self.scale = grid / (high - low)
        centers = torch.arange(grid + order, dtype=low.dtype, device=low.device) - (order - 1) / 2
        self.centers = centers.unsqueeze(-1)

    def __call__(self, h: Tensor, channels: Tensor, slopes: Tensor) -> None:
        """Writes the channels of states `(..., H)` and their slopes, both `(..., basis, H)`; SiLU is last.

        The slopes of the splines await `scale_slopes`.
        """
        k = self.order
        position = (h - self.low) * self.scale
        side = position.clamp_(0, self.grid).unsqueeze(-2) - self.centers
        distance = side.abs()
        value, slope = channels.narrow(-2, 0, self.grid + k), slopes.narrow(-2, 0, self.grid + k)
        for s in range(k // 2 + 1):  # alternating truncated powers make up the centered B-spline
            reach = ((k + 1) / 2 - s - distance).clamp_min_(0)
            power = _power(reach, k - 1)
            share = (-1) ** s * comb(k + 1, s) / factorial(k)
            if s == 0:
                torch.mul(power, k * share, out=slope)
                torch.mul(power.mul_(reach), share, out=value)
            else:
                slope.add_(power, alpha=k * share)
                value.add_(power.mul_(reach), alpha=share)
        slope.mul_(side.sign_())
        gate = h.sigmoid()
        torch.mul(h, gate, out=channels.select(-2, self.grid + k))
        torch.mul(gate, 1 + h * (1 - gate), out=slopes.select(-2, self.grid + k))

    def scale_slopes(self, states: Tensor, slopes: Tensor) -> None:
        """Makes slopes of all steps, taken along the distance from a center, slopes along the states."""
        position = (states - self.low) * self.scale
        inside = (position >= 0) & (position <= self.grid)  # beyond the grid a spline keeps its value
        slopes.narrow(-2, 0, self.grid + self.order).mul_((-self.scale * inside).unsqueeze(-2))


def _power(reach: Tensor, exponent: int) -> Tensor:
    """`reach`, at least 0, to a power, in a tensor of its own; to the power 0 the step at 0."""
    if exponent < 2:
        return reach.clone() if exponent else (reach > 0).to(reach.dtype)
    power = reach * reach
    for _ in range(exponent - 2):
        power *= reach
    return power
