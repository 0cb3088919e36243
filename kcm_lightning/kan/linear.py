"""Fully connected KAN layer."""

import torch.nn.functional as F
from torch import Tensor

from kcm_lightning.kan.layer import KANLayer


class KANLinear(KANLayer):
    """Kolmogorov-Arnold counterpart of `nn.Linear` (Liu et al. 2024, arXiv 2404.19756, equation 2.10).

    Args:
        in_features: size of an input.
        out_features: size of an output.
        grid: number of grid intervals.
        order: degree of the splines.
        grid_range: ends of the grid; outside it a spline keeps the value it has at the nearer end.
        spline_scale: initial size of the splines, against a base branch of unit variance.

    >>> import torch
    >>> KANLinear(4, 2)(torch.zeros(5, 4)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        grid: int = 5,
        order: int = 3,
        grid_range: tuple[float, float] = (-2.0, 2.0),
        spline_scale: float = 0.1,
    ):
        super().__init__(
            in_features,
            out_features,
            grid=grid,
            order=order,
            grid_range=grid_range,
            spline_scale=spline_scale,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(..., in_features)` to `(..., out_features)`."""
        return self.transform(x).view(*x.shape[:-1], self.out_features)

    def channels_last(self, x: Tensor) -> Tensor:
        return x

    def channels_back(self, x: Tensor) -> Tensor:
        return x

    def product(self, channels: Tensor, weight: Tensor) -> Tensor:
        return F.linear(channels.reshape(-1, channels.shape[-1]), weight)

    def product_gradients(
        self, gradient: Tensor, channels: Tensor, weight: Tensor, needed: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        to_channels = (gradient @ weight).view(channels.shape) if needed[0] else None
        to_weight = gradient.t() @ channels.reshape(-1, channels.shape[-1]) if needed[1] else None
        return to_channels, to_weight
