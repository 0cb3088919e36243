"""Gated recurrent layer whose gates and candidate are KAN transforms."""

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from typing import cast

import torch
from torch import Tensor, nn

from kcm_lightning.kan.layer import product_dtype
from kcm_lightning.kan.linear import KANLinear
from kcm_lightning.kan.recurrence import recur


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
        low, high = (
            torch.stack([end(layer).to(gates.dtype) for layer in self.states]).unsqueeze(1)  # (D, 1, H)
            for end in (attrgetter("grid_low"), attrgetter("grid_high"))
        )
        watched = [
            tensor
            for layer in self.states
            for tensor in (*layer.watched_weights(), layer.grid_low, layer.grid_high)
        ]
        grid, order = self.states[0].grid, self.states[0].order
        mask = _turned(steps).unsqueeze(-1)
        states = recur(gates, kernel, mask, low, high, grid, order, product_dtype(x), watched)
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
