"""Gated recurrent layer whose gates and candidate are KAN transforms."""

from collections.abc import Sequence
from functools import partial
from math import comb, factorial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from kcm_lightning.kan.layer import KANLayer
from kcm_lightning.kan.linear import KANLinear


class KANRecurrent(nn.Module):
    """A gated recurrent unit of Kolmogorov-Arnold transforms.

    With `X_g` and `H_g` KAN layers, each the sum of a SiLU branch and splines, for g in update z, reset r,
        candidate n:

        z = sigmoid(X_z(x_t) + H_z(h)),  r = sigmoid(X_r(x_t) + H_r(h)),
        n = tanh(X_n(x_t) + r * H_n(h)),  h' = (1 - z) * n + z * h.

    The state starts at 0 and stays within (-1, 1), which is the grid of its splines. `X_g` is computed for
    all steps at once; the loop holds one product of the state's basis channels a step, for both directions
    together. After Genet and Inzirillo 2024 (arXiv 2405.07344) and Xu et al. 2024 (the paper's reference 12),
    with the gates of Cho et al. 2014.

    Args:
        input_size: features of a step.
        width: features of the state of one direction.
        bidirectional: also read from the end; the two states are put side by side.
        grid: number of grid intervals.
        order: degree of the splines, at least 1.
        grid_range: ends of the grid of the inputs' splines.
        spline_scale: initial size of the splines, against a base branch of unit variance.

    >>> KANRecurrent(4, 8)(torch.zeros(2, 5, 4)).shape  # two directions
    torch.Size([2, 5, 16])
    """

    def __init__(
        self,
        input_size: int,
        width: int,
        bidirectional: bool = True,
        grid: int = 5,
        order: int = 3,
        grid_range: tuple[float, float] = (-2.0, 2.0),
        spline_scale: float = 0.1,
    ):
        super().__init__()
        if order < 1:
            raise ValueError(
                "a recurrent KAN needs order >= 1: a spline of order 0 has no slope to learn from"
            )
        self.width, self.directions = width, 1 + bidirectional
        layer = partial(KANLinear, grid=grid, order=order, spline_scale=spline_scale)
        self.inputs = layer(input_size, self.directions * 3 * width, grid_range=grid_range)
        states = nn.ModuleList(
            layer(width, 3 * width, grid_range=(-1.0, 1.0)) for _ in range(self.directions)
        )
        self.states = cast(Sequence[KANLinear], states)  # its items are untyped
        self.bias = nn.Parameter(torch.zeros(self.directions * 3 * width))
        with torch.no_grad():
            self.bias.view(self.directions, 3, width)[:, 0] = (
                1.0  # at first the state is kept rather than replaced
            )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """States after each step.

        Args:
            x: shape `(B, T, input_size)`.
            mask: True at steps that count, shape `(B, T)`; at the others the state stays as it is.

        Returns:
            Shape `(B, T, directions * width)`. A direction's state at a step has read nothing beyond that
            step.
        """
        gates = self.inputs(x) + self.bias  # (B, T, D * 3 * H)
        gates = gates.unflatten(-1, (self.directions, -1)).permute(1, 2, 0, 3)  # (T, D, B, 3 * H)
        steps = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
        steps = steps.T.unsqueeze(1).expand(-1, self.directions, -1)  # (T, D, B)
        kernel = torch.stack([layer.joint_weight().T for layer in self.states])  # (D, basis * H, 3 * H)
        gates = _turned(gates).to(torch.promote_types(gates.dtype, torch.float32))
        states = _Recurrence.apply(
            gates, kernel, _turned(steps).unsqueeze(-1), _product_dtype(x), self.states[0]
        )
        return _turned(states).permute(2, 0, 1, 3).flatten(-2).to(self.bias.dtype)  # (B, T, D * H)

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        """The state after one more step, for generation; one direction.

        Args:
            x: shape `(B, input_size)`.
            state: shape `(B, width)`; zeros before the first step.

        Returns:
            Shape `(B, width)`.
        """
        xz, xr, xn = (self.inputs(x) + self.bias).float().chunk(3, dim=-1)
        hz, hr, hn = self.states[0](state).float().chunk(3, dim=-1)
        z, r = torch.sigmoid(xz + hz), torch.sigmoid(xr + hr)
        return torch.lerp(torch.tanh(xn + r * hn), state, z)


def _turned(steps: Tensor) -> Tensor:
    """Steps with the second direction's order of time turned round; `(T, D, ...)`."""
    if steps.shape[1] == 1:
        return steps
    return torch.stack([steps[:, 0], steps[:, 1].flip(0)], dim=1)


def _product_dtype(x: Tensor) -> torch.dtype:
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class _Recurrence(torch.autograd.Function):
    """The loop over steps, with its own backward pass.

    Basis channels and their slopes are kept from the forward pass; the kernel's gradient is one product over
    all steps.
    """

    @staticmethod
    def forward(
        ctx: Any, gates: Tensor, kernel: Tensor, mask: Tensor, dtype: torch.dtype, layer: KANLayer
    ) -> Tensor:
        product = kernel.detach().to(dtype)
        length, width = len(gates), gates.shape[-1] // 3
        states = gates.new_zeros(length + 1, *gates.shape[1:3], width)
        inner = torch.empty_like(gates)  # (T, D, B, [z, r, H_n(h)])
        candidates = gates.new_empty(length, *gates.shape[1:3], width)
        splines = _Splines(layer, states)
        basis = gates.new_empty(length, *gates.shape[1:3], product.shape[1], dtype=dtype)
        slopes = []
        with torch.autocast(gates.device.type, enabled=False):
            for t in range(length):
                h, own = states[t], inner[t]
                channels, slope = splines(h)
                slopes.append(slope)
                own.copy_(torch.bmm(basis[t].copy_(channels), product))  # (D, B, 3 * H)
                own[..., : 2 * width].add_(gates[t, ..., : 2 * width]).sigmoid_()
                z, r, hidden = own.chunk(3, dim=-1)
                n = torch.addcmul(gates[t, ..., 2 * width :], r, hidden, out=candidates[t]).tanh_()
                torch.where(mask[t], torch.lerp(n, h, z), h, out=states[t + 1])
        ctx.save_for_backward(states, inner, candidates, product, mask, basis, *slopes)
        ctx.kernel_dtype = kernel.dtype
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, inner, candidates, product, mask, basis, *slopes = ctx.saved_tensors
        width = states.shape[-1]
        turned = product.transpose(1, 2).contiguous()
        to_gates, to_said = torch.empty_like(inner), torch.empty_like(inner)
        carry = torch.zeros_like(states[0])
        with torch.autocast(states.device.type, enabled=False):
            for t in range(len(inner) - 1, -1, -1):
                z, r, hidden = inner[t].chunk(3, dim=-1)
                whole = gradient[t] + carry
                arriving = whole * mask[t]
                h, n = states[t], candidates[t]
                before_tanh = arriving * (1 - z) * (1 - n * n)
                own = to_gates[t]
                torch.mul(arriving * (h - n), z * (1 - z), out=own[..., :width])
                torch.mul(before_tanh * hidden, r * (1 - r), out=own[..., width : 2 * width])
                own[..., 2 * width :] = before_tanh
                to_said[t] = own
                to_said[t, ..., 2 * width :] *= r
                back = torch.bmm(to_said[t].to(product.dtype), turned).unflatten(-1, (-1, width))
                carry = (back * slopes[t]).sum(-2) + arriving * z + (whole - arriving)
            channels, said = (
                rows.transpose(0, 1).flatten(1, 2) for rows in (basis, to_said)
            )  # (D, T * B, ...)
            to_kernel = torch.bmm(channels.transpose(1, 2), said.to(product.dtype))
        return to_gates, to_kernel.to(ctx.kernel_dtype), None, None, None


class _Splines:
    """Basis channels of states and their slopes, in few passes over memory; states never leave the grid.

    Args:
        layer: whose grid, order and branches.
        like: a tensor of the dtype and device of the states.
    """

    def __init__(self, layer: KANLayer, like: Tensor):
        self.grid, self.order = layer.grid, layer.order
        self.low = layer.grid_low.to(like)
        self.scale = self.grid / (layer.grid_high.to(like) - self.low)
        centers = (
            torch.arange(self.grid + self.order, dtype=like.dtype, device=like.device) - (self.order - 1) / 2
        )
        self.centers = centers.unsqueeze(-1)

    def __call__(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Channels `(..., basis * H)` and slopes `(..., basis, H)` of states `(..., H)`; the last is SiLU."""
        k = self.order
        shape = (*h.shape[:-1], self.grid + k + 1, h.shape[-1])
        channels, slopes = h.new_empty(shape), h.new_empty(shape)
        side = ((h - self.low) * self.scale).unsqueeze(-2) - self.centers
        distance = side.abs()
        value, slope = channels.narrow(-2, 0, self.grid + k), slopes.narrow(-2, 0, self.grid + k)
        for s in range(k // 2 + 1):  # alternating truncated powers make up the centered B-spline
            reach = ((k + 1) / 2 - s - distance).clamp_min_(0)
            power = reach.clone() if k > 1 else (reach > 0).to(reach.dtype)
            for _ in range(k - 2):
                power *= reach
            share = (-1) ** s * comb(k + 1, s) / factorial(k)
            if s == 0:
                torch.mul(power, k * share, out=slope)
                torch.mul(power.mul_(reach), share, out=value)
            else:
                slope.add_(power, alpha=k * share)
                value.add_(power.mul_(reach), alpha=share)
        slope.mul_(side.sign_()).mul_(-self.scale)
        gate = h.sigmoid()
        torch.mul(h, gate, out=channels.select(-2, self.grid + k))
        torch.mul(gate, 1 + h * (1 - gate), out=slopes.select(-2, self.grid + k))
        return channels.flatten(-2), slopes
