"""Convolutional KAN layer."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.utils import _pair

from kcm_lightning.kan.layer import KANLayer


class KANConv2d(KANLayer):
    """Kolmogorov-Arnold counterpart of `nn.Conv2d` (Bodner et al. 2024, arXiv 2406.13155).

    Every element of the kernel is a learnable function. All of them are applied by one dense convolution over
    basis channels. A padded position adds nothing to the sum, even where a spline is not 0 at 0.

    Args:
        in_channels: channels of an input.
        out_channels: channels of an output.
        kernel_size: height and width of the kernel, see `nn.Conv2d`.
        stride: see `nn.Conv2d`.
        padding: see `nn.Conv2d`.
        dilation: see `nn.Conv2d`.
        groups: see `nn.Conv2d`.
        grid: number of grid intervals.
        order: degree of the splines.
        grid_range: ends of the grid; outside it a spline keeps the value it has at the nearer end.
        spline_scale: initial size of the splines, against a base branch of unit variance.

    >>> import torch
    >>> KANConv2d(3, 8, 3, padding=1)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 8, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        grid: int = 5,
        order: int = 3,
        grid_range: tuple[float, float] = (-2.0, 2.0),
        spline_scale: float = 0.1,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel=_pair(kernel_size),
            groups=groups,
            grid=grid,
            order=order,
            grid_range=grid_range,
            spline_scale=spline_scale,
        )
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, in_channels, H, W)` to `(B, out_channels, H', W')`, sizes as those of `nn.Conv2d`.

        An image without the batch axis is taken too.
        """
        return self.transform(x) if x.dim() == 4 else self.transform(x.unsqueeze(0)).squeeze(0)

    def channels_last(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).contiguous()  # (B, H, W, C)

    def channels_back(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)

    def product(self, channels: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(channels, weight, None, self.stride, self.padding, self.dilation, self.groups)

    def product_gradients(
        self, gradient: Tensor, channels: Tensor, weight: Tensor, needed: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        sizes = [list(_pair(size)) for size in (self.stride, self.padding, self.dilation)]
        to_channels, to_weight, _ = torch.ops.aten.convolution_backward(
            gradient, channels, weight, None, *sizes, False, [0, 0], self.groups, [*needed, False]
        )
        return to_channels, to_weight
