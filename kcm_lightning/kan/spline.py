"""B-spline basis on a uniform grid, the activation of every Kolmogorov-Arnold layer.

Two formulations of the same basis live here. `_local` evaluates only the `order + 1` functions that are
not zero and scatters them: few passes over memory, which is what eager mode pays for. `_closed` is one
expression over all functions, which a compiler fuses into a single loop. Tests hold them equal.
"""

from fractions import Fraction
from math import comb, factorial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_PIECES: dict[int, tuple[tuple[float, ...], ...]] = {}


def pieces(order: int) -> tuple[tuple[float, ...], ...]:
    """Polynomials of the uniform B-spline of an order, one for each function that is alive on an interval.

    Cox and de Boor's recursion, carried out once on exact polynomials.

    Args:
        order: degree of the spline, 0 (boxes), 1 (hats), 2, 3 (cubic), ...

    Returns:
        `order + 1` rows; row m holds the coefficients (constant first) in t in [0, 1) of basis function
        i + m on grid interval i.
    """
    if order not in _PIECES:
        parts = [[Fraction(1)]]
        for k in range(1, order + 1):
            longer = []
            for s in range(k + 1):
                poly = [Fraction(0)] * (k + 1)
                if s < k:  # rising half: (t + s) / k of the spline one order below
                    for power, value in enumerate(parts[s]):
                        poly[power] += value * s / k
                        poly[power + 1] += value / k
                if s > 0:  # falling half: (k + 1 - s - t) / k of the same spline, one interval on
                    for power, value in enumerate(parts[s - 1]):
                        poly[power] += value * (k + 1 - s) / k
                        poly[power + 1] -= value / k
                longer.append(poly)
            parts = longer
        _PIECES[order] = tuple(tuple(float(c) for c in parts[order - m]) for m in range(order + 1))
    return _PIECES[order]


def bspline_basis(x: Tensor, low: Tensor, high: Tensor, grid: int, order: int) -> Tensor:
    """B-spline basis functions of inputs, differentiable in `x`.

    Inside [low, high] the functions sum to 1. Outside, every function keeps the value it has at the nearer
    end: the sum stays 1 and the gradient is 0, so no input, however large, gives a NaN or falls silent.

    Args:
        x: inputs, shape `(..., C)`.
        low: left end of the grid, shape `(C,)`.
        high: right end of the grid, shape `(C,)`, above `low`.
        grid: number of intervals.
        order: degree of the spline.

    Returns:
        Basis values, shape `(..., grid + order, C)`, of the dtype of `x`, computed in at least float32.

    >>> low, high = torch.tensor([-1.0]), torch.tensor([1.0])
    >>> bspline_basis(torch.tensor([0.5]), low, high, grid=2, order=1).squeeze(-1).tolist()
    [0.0, 0.5, 0.5]
    """
    expanded = expand(x, low, high, grid, order, x.dtype)
    return expanded.narrow(-2, 0, grid + order)


def expand(x: Tensor, low: Tensor, high: Tensor, grid: int, order: int, dtype: torch.dtype) -> Tensor:
    """Basis channels of a KAN layer: the B-spline functions, and SiLU of the input for the base branch.

    Keeps only `x` for the backward pass.

    Args:
        x: inputs, shape `(..., C)`.
        low: left end of the grid, shape `(C,)`.
        high: right end of the grid, shape `(C,)`.
        grid: number of intervals.
        order: degree of the spline.
        dtype: type of the result; the functions are computed in at least float32 and rounded once.

    Returns:
        Shape `(..., grid + order + 1, C)`; the last channel is SiLU.
    """
    if unrecorded():
        return _Expand.forward(x, low, high, grid, order, dtype)
    transform = _Expand if torch.compiler.is_compiling() else _ExpandAnywhere
    return transform.apply(x, low, high, grid, order, dtype)


def expand_gradient(x: Tensor, low: Tensor, high: Tensor, gradient: Tensor, grid: int, order: int) -> Tensor:
    """Gradient of `x` from that of its basis channels, itself differentiable in both.

    Args:
        x: inputs of `expand`, shape `(..., C)`.
        low: left end of the grid, shape `(C,)`.
        high: right end of the grid, shape `(C,)`.
        gradient: gradient of the channels, shape `(..., grid + order + 1, C)`.
        grid: number of intervals.
        order: degree of the spline.

    Returns:
        Of the shape and dtype of `x`.
    """
    exact, clamped, position = _to_grid(x, low, high, grid)
    form = _closed_gradient if torch.compiler.is_compiling() else _local_gradient
    slope = form(clamped, gradient, grid, order)
    slope = slope * _inside(position, grid) * _scale(low, high, grid, exact.dtype)
    base = gradient.select(-2, grid + order).to(exact.dtype)
    slope = slope + _silu_gradient(base, exact)
    return slope.to(x.dtype)


def expand_tangent(
    x: Tensor, low: Tensor, high: Tensor, tangent: Tensor, grid: int, order: int, dtype: torch.dtype
) -> Tensor:
    """How basis channels move when `x` moves by `tangent`, itself differentiable in both; see `expand`."""
    exact, clamped, position = _to_grid(x, low, high, grid)
    moved = tangent.to(exact.dtype)
    base = _silu_gradient(moved, exact).unsqueeze(-2)
    slope, alive = _local_slopes(clamped, grid, order)
    slope = slope * (moved * _inside(position, grid) * _scale(low, high, grid, exact.dtype))
    shape = (*exact.shape[:-1], grid + order, exact.shape[-1])
    splines = slope.new_zeros(shape).scatter(-2, alive.movedim(0, -2), slope.movedim(0, -2))
    return torch.cat([splines, base], dim=-2).to(dtype)


def unrecorded() -> bool:
    """Whether neither autograd nor `torch.func` looks on: then a plain call spares what `apply` costs."""
    return not (torch.is_grad_enabled() or torch._C._are_functorch_transforms_active())


class _Expand(torch.autograd.Function):
    """The form that a compiler traces."""

    @staticmethod
    def forward(x: Tensor, low: Tensor, high: Tensor, grid: int, order: int, dtype: torch.dtype) -> Tensor:
        exact, clamped, _ = _to_grid(x, low, high, grid)
        form = _closed if torch.compiler.is_compiling() else _local
        return form(exact, clamped, grid, order, dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, low, high, *ctx.sizes = inputs
        ctx.save_for_backward(x, low, high)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, low, high = ctx.saved_tensors
        grid, order, _ = ctx.sizes
        return expand_gradient(x, low, high, gradient, grid, order), None, None, None, None, None


class _ExpandAnywhere(_Expand):
    """The form of eager mode: also under `torch.func` and forward-mode derivatives."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, low, high, *ctx.sizes = inputs
        ctx.save_for_backward(x, low, high)
        ctx.save_for_forward(x, low, high)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> Tensor:
        x, low, high = ctx.saved_tensors
        grid, order, dtype = ctx.sizes
        return expand_tangent(x, low, high, tangent, grid, order, dtype)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        x, low, high = (
            value.unsqueeze(0) if dim is None else value.movedim(dim, 0)
            for value, dim in zip(inputs[:3], in_dims, strict=False)
        )
        x = x.expand(info.batch_size, *x.shape[1:])
        low, high = (end.view(len(end), *[1] * (x.dim() - end.dim()), *end.shape[1:]) for end in (low, high))
        return expand(x, low, high, *inputs[3:]), 0


def _scale(low: Tensor, high: Tensor, grid: int, dtype: torch.dtype) -> Tensor:
    """Intervals per unit of the input; ends kept in half precision lose nothing more in their difference."""
    return grid / (high.to(dtype) - low.to(dtype))


def _silu_gradient(gradient: Tensor, x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return torch.ops.aten.silu_backward(gradient, x)  # one pass, and not differentiable
    gate = x.sigmoid()
    return gradient * gate * (1 + x * (1 - gate))


def _to_grid(x: Tensor, low: Tensor, high: Tensor, grid: int) -> tuple[Tensor, Tensor, Tensor]:
    """`x` in at least float32, its position in intervals clamped to [0, grid], and as it is."""
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    position = (exact - low) * _scale(low, high, grid, exact.dtype)
    return exact, position.clamp(0, grid), position


def _inside(position: Tensor, grid: int) -> Tensor:
    """Where functions have slopes: beyond the grid they keep their value.

    Not `position == clamped`: a compiler may compute the two apart, with different rounding.
    """
    return (position >= 0) & (position <= grid)


def _table(order: int, like: Tensor) -> Tensor:
    return torch.tensor(pieces(order), dtype=like.dtype, device=like.device)  # (order + 1, order + 1)


def _interval(clamped: Tensor, grid: int, order: int) -> tuple[Tensor, Tensor]:
    """Place t in the interval, and indices of the functions that are not 0 there, `(order + 1, ...)`.

    What belongs to one function is kept together in memory: the passes over it are then long and plain.
    """
    left = clamped.floor().clamp(max=grid - 1)
    alive = torch.arange(order + 1, device=clamped.device).view(-1, *[1] * clamped.dim())
    first = left.long().clamp_min(0)  # NaN has no interval: it stays NaN through t, and must not index
    return clamped - left, first + alive


def _horner(t: Tensor, coefficients: Tensor) -> Tensor:
    """Polynomials in t, one for each row of coefficients (constant first); shape `(rows, *t.shape)`."""
    columns = [column.view(-1, *[1] * t.dim()) for column in coefficients.unbind(1)]
    value = columns[-1].expand(len(coefficients), *t.shape)
    for column in columns[-2::-1]:
        value = torch.addcmul(column, value, t)
    return value


def _local(exact: Tensor, clamped: Tensor, grid: int, order: int, dtype: torch.dtype) -> Tensor:
    t, alive = _interval(clamped, grid, order)
    value = _horner(t, _table(order, exact)).to(dtype)
    shape = (*exact.shape[:-1], grid + order + 1, exact.shape[-1])
    out = value.new_zeros(shape)
    out.scatter_(-2, alive.movedim(0, -2), value.movedim(0, -2))
    out.select(-2, grid + order).copy_(F.silu(exact))
    return out


def _local_slopes(clamped: Tensor, grid: int, order: int) -> tuple[Tensor, Tensor]:
    """Slopes of the functions that are not 0, and their indices, `(order + 1, ...)`."""
    t, alive = _interval(clamped, grid, order)
    if order == 0:
        return torch.zeros_like(t).unsqueeze(0), alive
    powers = torch.arange(1, order + 1, dtype=t.dtype, device=t.device)
    return _horner(t, _table(order, t)[:, 1:] * powers), alive


def _local_gradient(clamped: Tensor, gradient: Tensor, grid: int, order: int) -> Tensor:
    if order == 0:
        return torch.zeros_like(clamped)
    slope, alive = _local_slopes(clamped, grid, order)
    return (gradient.gather(-2, alive.movedim(0, -2)).movedim(-2, 0) * slope).sum(0)


def _distance(clamped: Tensor, grid: int, order: int) -> Tensor:
    """Signed distance, in intervals, from the center of each basis function; (..., grid + order, C)."""
    index = torch.arange(grid + order, dtype=clamped.dtype, device=clamped.device)
    return clamped.unsqueeze(-2) - (index - (order - 1) / 2).unsqueeze(-1)


def _truncated_powers(distance: Tensor, order: int, power: int) -> Tensor:
    """Alternating sum of truncated powers: the centered B-spline, or, one power down, its slope."""
    total = torch.zeros_like(distance)
    for s in range(order // 2 + 1):
        reach = (order + 1) / 2 - s - distance
        term = reach.clamp_min(0) ** power if power else (reach > 0).to(reach.dtype)
        total = total + (-1) ** s * comb(order + 1, s) / factorial(power) * term
    return total


def _closed(exact: Tensor, clamped: Tensor, grid: int, order: int, dtype: torch.dtype) -> Tensor:
    if order == 0:
        return _local(exact, clamped, grid, order, dtype)
    value = _truncated_powers(_distance(clamped, grid, order).abs(), order, order)
    return torch.cat([value, F.silu(exact).unsqueeze(-2)], dim=-2).to(dtype)


def _closed_gradient(clamped: Tensor, gradient: Tensor, grid: int, order: int) -> Tensor:
    if order == 0:
        return torch.zeros_like(clamped)
    if order == 1:  # a kink at every knot: only the interval's own polynomial gives its one-sided slope
        return _local_gradient(clamped, gradient, grid, order)
    distance = _distance(clamped, grid, order)
    slope = -distance.sign() * _truncated_powers(distance.abs(), order, order - 1)
    return (gradient.narrow(-2, 0, grid + order) * slope).sum(-2)
