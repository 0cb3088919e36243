"""Accuracy by region of a long-tailed class distribution."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class RegionAccuracy(Metric):
    """Accuracy over all samples and over those of each region (head, med, tail).

    Args:
        regions: region index of each class, shape `(V,)`.
        names: names of the regions.
        **kwargs: options of `torchmetrics.Metric`.

    >>> metric = RegionAccuracy(torch.tensor([0, 1, 2]))
    >>> metric.update(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]))
    >>> {name: round(share.item(), 2) for name, share in metric.compute().items()}
    {'head': 1.0, 'med': 1.0, 'tail': 0.0, 'overall': 0.67}
    """

    full_state_update = False

    regions: Tensor
    correct: Tensor
    total: Tensor

    def __init__(self, regions: Tensor, names: tuple[str, ...] = ("head", "med", "tail"), **kwargs: Any):
        super().__init__(**kwargs)
        self.names = tuple(names)
        self.register_buffer("regions", regions, persistent=False)
        self.add_state("correct", torch.zeros(len(names), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(len(names), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts a batch of class indices, each of shape `(B,)`."""
        region = self.regions[target]
        self.total += torch.bincount(region, minlength=len(self.names))
        self.correct += torch.bincount(region[prediction == target], minlength=len(self.names))

    def compute(self) -> dict[str, Tensor]:
        """Fractions in [0, 1] by region name, and `overall`; NaN for a region without a sample."""
        shares = self.correct / self.total
        return dict(zip(self.names, shares, strict=True)) | {"overall": self.correct.sum() / self.total.sum()}
