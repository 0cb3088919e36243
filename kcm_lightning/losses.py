"""Cross-entropies for the judge under class imbalance."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

JudgeLoss = Literal["logit_adjusted", "plain", "balanced"]


def judge_loss(logits: Tensor, target: Tensor, class_counts: Tensor, kind: JudgeLoss = "logit_adjusted") -> Tensor:
    """Cross-entropy of labelled samples, one value a sample.

    Args:
        logits: shape `(B, V)`.
        target: class indices, shape `(B,)`.
        class_counts: training samples of each class, shape `(V,)`.
        kind: "plain"; "logit_adjusted" (Menon et al. 2021, equation 10: log priors are added to the logits in
            training only, so that the plain logits rank classes as if they were balanced); "balanced"
            (weights inverse to the class counts, of mean 1 over the training set).

    Returns:
        Shape `(B,)`, in nats, float32.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        counts = class_counts.to(logits)
        if kind == "logit_adjusted":
            return F.cross_entropy(logits + (counts / counts.sum()).log(), target, reduction="none")
        loss = F.cross_entropy(logits, target, reduction="none")
        if kind == "balanced":
            loss = loss * (counts.sum() / (len(counts) * counts))[target]
        return loss
