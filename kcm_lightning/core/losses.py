"""Losses for the judge under class imbalance."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kcm_lightning.core.tlc_loss import tlc_loss

JudgeLoss = Literal["logit_adjusted", "plain", "balanced", "tlc"]


def judge_loss(
    logits: Tensor,
    target: Tensor,
    *,
    class_counts: Tensor,
    kind: JudgeLoss = "logit_adjusted",
    progress: float = 0.0,
) -> Tensor:
    """Loss of labeled samples, one value a sample.

    Args:
        logits: shape `(B, V)`; for "tlc" those of each expert, shape `(K, B, V)`.
        target: class indices, shape `(B,)`.
        class_counts: training samples of each class, shape `(V,)`.
        kind: "plain" cross-entropy; "logit_adjusted" (Menon et al. 2021, equation 10: log priors are added to
            the logits in training only, so that the plain logits rank classes as if they were balanced);
            "balanced" (weights inverse to the class counts, of mean 1 over the training set); "tlc", see
            `tlc_loss`.
        progress: share of the training that is done when the epoch ends, in [0, 1]; for "tlc".

    Returns:
        Shape `(B,)`, in nats, float32.

    >>> logits, rare, counts = torch.zeros(1, 2), torch.tensor([1]), torch.tensor([90, 10])
    >>> round(judge_loss(logits, rare, class_counts=counts, kind="plain").item(), 2)  # log(2)
    0.69
    >>> round(judge_loss(logits, rare, class_counts=counts).item(), 2)  # log(100 / 10)
    2.3
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        counts = class_counts.to(logits)
        if kind == "tlc":
            return tlc_loss(logits, target, counts, progress)
        if kind == "logit_adjusted":
            return F.cross_entropy(logits + (counts / counts.sum()).log(), target, reduction="none")
        loss = F.cross_entropy(logits, target, reduction="none")
        if kind == "balanced":
            loss = loss * (counts.sum() / (len(counts) * counts))[target]
        return loss
