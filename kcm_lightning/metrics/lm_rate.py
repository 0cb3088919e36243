"""LM rate: how often the large model is called."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class LMRate(Metric):
    """Shares of samples for which the large model was called, and for which its answer was used.

    A ratio of counts, summed over batches and processes; never a mean of batch means. The two differ where
    the large model is called to decide whether to use it (`second_gate: teacher`).

    >>> metric = LMRate()
    >>> metric.update(called=torch.tensor([True, True, False]), answered=torch.tensor([True, False, False]))
    >>> {name: round(share.item(), 2) for name, share in metric.compute().items()}
    {'called': 0.67, 'answered': 0.33}
    """

    full_state_update = False

    calls: Tensor
    answers: Tensor
    total: Tensor

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        for name in ("calls", "answers", "total"):
            self.add_state(name, torch.tensor(0), dist_reduce_fx="sum")

    def update(self, called: Tensor, answered: Tensor) -> None:
        """Counts a batch.

        Args:
            called: whether the large model saw the sample, booleans of shape `(B,)`.
            answered: whether its answer was used, booleans of shape `(B,)`.
        """
        self.calls += called.sum()
        self.answers += answered.sum()
        self.total += called.numel()

    def compute(self) -> dict[str, Tensor]:
        """`{"called", "answered"}`, fractions in [0, 1]."""
        total = self.total.clamp_min(1)
        return {"called": self.calls / total, "answered": self.answers / total}
