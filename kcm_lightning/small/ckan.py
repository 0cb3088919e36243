"""CKAN, a residual convolutional KAN for images, and the plain CNN that is its twin."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kcm_lightning.kan import KANConv2d

MakeConv = Callable[[int, int], nn.Module]
SIZES = {"s": (32, (1, 1, 1)), "m": (64, (1, 2, 2)), "l": (96, (2, 2, 2))}  # width and depths
_STAGE_SIZE = 32  # height and width that the first stage sees at least of a larger image


class Block(nn.Module):
    """Pre-activation residual block: a narrow 3x3 convolution, then the layer under study back to full width.

    The bottleneck is what makes splines affordable: basis channels are made of few channels, and the
        normalization
    before them keeps those on the grid.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: 1, or 2 to halve height and width.
        bottleneck: how many times fewer channels the middle has than the output.
        expand: makes the 1x1 layer from middle to output channels.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, bottleneck: int, expand: MakeConv):
        super().__init__()
        middle = max(1, outputs // bottleneck)
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.SiLU(),
            nn.Conv2d(inputs, middle, 3, stride, 1, bias=False),
            nn.BatchNorm2d(middle),
            expand(middle, outputs),
        )
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(nn.AvgPool2d(stride, ceil_mode=True))
        if inputs != outputs:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.body(x)


def residual_stages(
    stem: nn.Conv2d, width: int, depths: Sequence[int], bottleneck: int, expand: MakeConv
) -> tuple[list[nn.Module], int]:
    """A stem and stages of doubling width and halving size, normalized at the end.

    Args:
        stem: layer from 3 channels to `width`.
        width: channels of the first stage.
        depths: blocks of each stage.
        bottleneck: see `Block`.
        expand: see `Block`.

    Returns:
        The layers, and the channels of the last one.
    """
    layers: list[nn.Module] = [stem]
    channels = width
    for stage, depth in enumerate(depths):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            layers.append(Block(channels, width * 2**stage, stride, bottleneck, expand))
            channels = width * 2**stage
    layers += [nn.BatchNorm2d(channels), nn.SiLU()]
    for layer in nn.ModuleList(layers).modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            layer.to(memory_format=torch.channels_last)
    return layers, channels


class ResidualNet(nn.Module):
    """Stem, stages of doubling width and halving size, and a linear classifier."""

    def __init__(
        self, num_classes: int, width: int, depths: Sequence[int], bottleneck: int, expand: MakeConv
    ):
        super().__init__()
        self.num_classes = num_classes
        stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        stages, channels = residual_stages(stem, width, depths, bottleneck, expand)
        self.features = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape `(B, num_classes)`, of normalized images, shape `(B, 3, H, W)`.

        Of images of 64 pixels and more, the stages see what the stem finds on a grid of 32 to 63.
        """
        stem, *stages = self.features
        x = stem(images)
        if (factor := min(images.shape[-2:]) // _STAGE_SIZE) > 1:
            x = F.avg_pool2d(x, factor)
        for layer in stages:
            x = layer(x)
        return self.classifier(x)


class CKAN(ResidualNet):
    """Residual convolutional KAN.

    Args:
        num_classes: classes to tell apart.
        width: channels of the first stage; each further one doubles them.
        depths: blocks of each stage. The first stage works on whole images and is the most expensive.
        bottleneck: how many times fewer channels the spline layers read than they write.
        grid: grid intervals of a spline.
        order: degree of a spline: 1, the default, is piecewise linear, 3 cubic.
        grid_range: ends of the grid; its inputs are normalized to unit variance.
        spline_scale: initial size of the splines, against a base branch of unit variance.
        size: "s", "m" (64 and (1, 2, 2)) or "l", in place of width and depths; null, the default, takes
            these.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 64,
        depths: Sequence[int] = (1, 2, 2),
        bottleneck: int = 4,
        grid: int = 3,
        order: int = 1,
        grid_range: tuple[float, float] = (-2.0, 2.0),
        spline_scale: float = 0.1,
        size: Literal["s", "m", "l"] | None = None,
    ):
        width, depths = (width, depths) if size is None else SIZES[size]

        def expand(inputs: int, outputs: int) -> nn.Module:
            return KANConv2d(
                inputs, outputs, 1, grid=grid, order=order, grid_range=grid_range, spline_scale=spline_scale
            )

        super().__init__(num_classes, width, depths, bottleneck, expand)
        self.depths, self.bottleneck = depths, bottleneck


class CNN(ResidualNet):
    """The twin of CKAN: the same skeleton, with SiLU and a plain convolution where CKAN has splines.

    At equal width it has fewer parameters; `cnn_twin` finds the width at which it has as many, or is as slow.

    Args:
        num_classes: classes to tell apart.
        width: channels of the first stage; each further one doubles them.
        depths: blocks of each stage. The first stage works on whole images and is the most expensive.
        bottleneck: how many times fewer channels the middle of a block has than its end.
        size: "s", "m" (64 and (1, 2, 2)) or "l", in place of width and depths; null, the default, takes
            these.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 64,
        depths: Sequence[int] = (1, 2, 2),
        bottleneck: int = 4,
        size: Literal["s", "m", "l"] | None = None,
    ):
        width, depths = (width, depths) if size is None else SIZES[size]

        def expand(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(nn.SiLU(), nn.Conv2d(inputs, outputs, 1, bias=False))

        super().__init__(num_classes, width, depths, bottleneck, expand)
