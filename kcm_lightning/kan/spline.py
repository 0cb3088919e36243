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
    return _Expand.apply(x, low, high, grid, order, dtype)


class _Expand(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, low: Tensor, high: Tensor, grid: int, order: int, dtype: torch.dtype
    ) -> Tensor:
        ctx.save_for_backward(x, low, high)
        ctx.sizes = grid, order
        exact, clamped, _ = _to_grid(x, low, high, grid)
        form = _closed if torch.compiler.is_compiling() else _local
        return form(exact, clamped, grid, order, dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, low, high = ctx.saved_tensors
        grid, order = ctx.sizes
        exact, clamped, inside = _to_grid(x, low, high, grid)
        form = _closed_gradient if torch.compiler.is_compiling() else _local_gradient
        slope = form(clamped, gradient, grid, order)
        slope = slope * inside * (grid / (high - low).to(exact.dtype))
        base = gradient.select(-2, grid + order).to(exact.dtype)
        slope = slope + torch.ops.aten.silu_backward(base, exact)
        return slope.to(x.dtype), None, None, None, None, None


def _to_grid(x: Tensor, low: Tensor, high: Tensor, grid: int) -> tuple[Tensor, Tensor, Tensor]:
    """`x` in at least float32, its position in intervals clamped to [0, grid], and where it is inside."""
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    position = (exact - low) * (grid / (high - low))
    return exact, position.clamp(0, grid), (position >= 0) & (position <= grid)


def _table(order: int, like: Tensor) -> Tensor:
    return torch.tensor(pieces(order), dtype=like.dtype, device=like.device)  # (order + 1, order + 1)


def _interval(clamped: Tensor, grid: int, order: int) -> tuple[Tensor, Tensor]:
    """Place t in the interval, and indices of the functions that are not 0 there, `(order + 1, ...)`.

    What belongs to one function is kept together in memory: the passes over it are then long and plain.
    """
    left = clamped.floor().clamp_(max=grid - 1)
    alive = torch.arange(order + 1, device=clamped.device).view(-1, *[1] * clamped.dim())
    first = left.long().clamp_min_(0)  # NaN has no interval: it stays NaN through t, and must not index
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
    out = torch.zeros(shape, dtype=dtype, device=exact.device)
    out.scatter_(-2, alive.movedim(0, -2), value.movedim(0, -2))
    out.select(-2, grid + order).copy_(F.silu(exact))
    return out


def _local_gradient(clamped: Tensor, gradient: Tensor, grid: int, order: int) -> Tensor:
    if order == 0:
        return torch.zeros_like(clamped)
    t, alive = _interval(clamped, grid, order)
    powers = torch.arange(1, order + 1, dtype=t.dtype, device=t.device)
    slope = _horner(t, _table(order, t)[:, 1:] * powers)
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
