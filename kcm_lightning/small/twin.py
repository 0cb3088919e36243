"""The width at which a plain CNN equals a CKAN in parameters or in step time."""

import time
from statistics import median
from typing import Literal, cast

import torch
from torch import nn

from kcm_lightning.small.ckan import CKAN, CNN


def cnn_twin(
    kan: CKAN, match: Literal["parameters", "step_time"], image_size: int = 32, batch: int = 64
) -> CNN:
    """A CNN with the skeleton of a CKAN, as wide as its parameters or its step time allow.

    Args:
        kan: the CKAN to match.
        match: "parameters", or "step_time" (forward and backward pass, measured here and now).
        image_size: height and width of the images that steps are timed on.
        batch: number of images of a timed step.
    """
    images = torch.randn(batch, 3, image_size, image_size)

    def cost(model: nn.Module) -> float:
        return _parameters(model) if match == "parameters" else _step_time(model, images)

    goal = cost(kan)
    low = high = max(1, _width(kan) // kan.bottleneck) * kan.bottleneck
    while cost(_cnn(kan, high)) < goal:
        low, high = high, 2 * high
    while high - low > kan.bottleneck:  # both costs rise with the width
        middle = (low + high) // (2 * kan.bottleneck) * kan.bottleneck
        low, high = (low, middle) if cost(_cnn(kan, middle)) > goal else (middle, high)
    return min((_cnn(kan, low), _cnn(kan, high)), key=lambda model: abs(cost(model) - goal))


def _width(kan: CKAN) -> int:
    return cast(nn.Conv2d, kan.features[0]).out_channels


def _cnn(kan: CKAN, width: int) -> CNN:
    return CNN(kan.num_classes, width, kan.depths, kan.bottleneck)


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _step_time(model: nn.Module, images: torch.Tensor) -> float:
    times = []
    for _ in range(7):
        start = time.perf_counter()
        model(images).square().mean().backward()
        times.append(time.perf_counter() - start)
    return median(times[2:])
