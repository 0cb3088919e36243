"""How far confidences are from the share of answers that are right."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class Reliability(Metric):
    """Confidences and answers that are right, counted by bins of confidence.

    Sums over batches and processes: enough for a histogram, for a reliability diagram (Guo et al. 2017), and
    for the expected calibration error, which is each bin's gap between mean confidence and share right,
    weighted by its samples. Where there is no confidence (NaN), a sample is left out.

    Args:
        bins: number of equally wide bins of [0, 1].

    >>> metric = Reliability(bins=2)
    >>> metric.update(confidence=torch.tensor([0.9, 0.7, 0.2]), right=torch.tensor([True, False, False]))
    >>> round(metric.compute().item(), 2)  # two thirds of |0.8 - 0.5|, and a third of |0.2 - 0|
    0.27
    """

    full_state_update = False

    samples: Tensor
    right: Tensor
    confidence: Tensor

    def __init__(self, bins: int = 15, **kwargs: Any):
        super().__init__(**kwargs)
        self.bins = bins
        self.add_state("samples", torch.zeros(bins, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("right", torch.zeros(bins, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("confidence", torch.zeros(bins), dist_reduce_fx="sum")

    def update(self, confidence: Tensor, right: Tensor) -> None:
        """Counts a batch.

        Args:
            confidence: fractions in [0, 1], NaN where there is none, shape `(B,)`.
            right: whether the answer is right, booleans of shape `(B,)`.
        """
        known = ~confidence.isnan()
        confidence, right = confidence[known].float(), right[known]
        place = (confidence * self.bins).long().clamp(0, self.bins - 1)
        self.samples.index_add_(0, place, torch.ones_like(place))
        self.right.index_add_(0, place, right.long())
        self.confidence.index_add_(0, place, confidence)

    def compute(self) -> Tensor:
        """The expected calibration error, a fraction in [0, 1]; 0 of no samples."""
        return (self.confidence - self.right).abs().sum() / self.samples.sum().clamp_min(1)
