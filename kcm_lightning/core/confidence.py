"""Equations 1 and 3: how confident a model is."""

from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.ranges import check_temperature

CaptionConfidence = Literal["geometric_mean", "mean", "minimum"]


@dataclass
class Temperatures:
    """Numbers that each model's logits are divided by before its confidence is read (Guo et al. 2017).

    Above 1 a model becomes less confident, below 1 more; 1 changes nothing. `calibrate` fits them. Each is
    from 0.001 to 1000: logits divided by less may be infinite, which makes NaN of a confidence.

    Args:
        judge: temperature of the judge.
        student: temperature of the student.
        teacher: temperature of the large model.
    """

    judge: float = 1.0
    student: float = 1.0
    teacher: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            check_temperature(f"temperature {field.name}", getattr(self, field.name))


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Equation 1 for every class: softmax over the last axis.

    A classifier's confidence is the largest of them. Computed in float32, since half precision would round it
    to 1.

    Args:
        logits: shape `(..., V)`.
        temperature: divisor of the logits.

    Returns:
        Shape `(..., V)`, float32.

    >>> probabilities(torch.tensor([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    with torch.autocast(logits.device.type, enabled=False):
        return (logits.float() / temperature).softmax(-1)


def most_probable(distribution: Tensor) -> tuple[Tensor, Tensor]:
    """Equations 1 and 3: a classifier's confidence, which is its largest probability, and its class.

    Args:
        distribution: probabilities, shape `(B, V)`; rows of NaN where there is no answer.

    Returns:
        Confidences and class indices, each of shape `(B,)`.

    >>> confidence, prediction = most_probable(torch.tensor([[0.25, 0.75]]))
    >>> confidence.tolist(), prediction.tolist()
    ([0.75], [1])
    """
    confidence, prediction = distribution.max(-1)
    return confidence, prediction


def check_confidence(confidence: Tensor) -> None:
    """Whether each confidence is a number: a gate keeps no NaN, and passes it on unsaid.

    Args:
        confidence: of a model that was asked about every sample, shape `(B,)`.

    Raises:
        InputError: some are NaN.

    >>> check_confidence(torch.tensor([0.5, 1.0]))  # both are numbers
    """
    if count := int(confidence.isnan().sum()):
        raise InputError(
            f"{count} of {len(confidence)} confidences of a small model are NaN: its weights are damaged or "
            "have diverged, or its inputs are no numbers"
        )


def tempered(distribution: Tensor, temperature: float) -> Tensor:
    """The distribution that a model's logits, divided by a temperature, would give.

    Args:
        distribution: probabilities, shape `(..., V)`.
        temperature: divisor of the logits; 1 changes nothing.

    Returns:
        Shape `(..., V)`.

    >>> tempered(torch.tensor([0.8, 0.2]), 1000.0).round(decimals=2).tolist()
    [0.5, 0.5]
    """
    if temperature == 1.0:
        return distribution
    return (distribution.clamp_min(torch.finfo(distribution.dtype).tiny).log() / temperature).softmax(-1)


def caption_confidence(
    log_probabilities: Tensor, counted: Tensor, kind: CaptionConfidence = "geometric_mean"
) -> Tensor:
    """Equation 1 for a caption: one confidence out of the probabilities of its tokens.

    Args:
        log_probabilities: log-probability of each token, shape `(B, L)`; may be infinite where it does not
            count.
        counted: which tokens belong to the caption, its end included, shape `(B, L)`.
        kind: "geometric_mean" or "mean" of the probabilities, or "minimum", the least of them.

    Returns:
        Fractions in [0, 1], float32, shape `(B,)`; 1 for a caption without tokens.

    >>> tokens = torch.tensor([[0.5, 0.5, 0.1]]).log()
    >>> caption_confidence(tokens, torch.tensor([[True, True, False]])).tolist()
    [0.5]
    """
    log_probs = log_probabilities.float().masked_fill(~counted, 0.0)
    count = counted.sum(1).clamp_min(1)
    if kind == "geometric_mean":
        return (log_probs.sum(1) / count).exp()
    if kind == "mean":
        return torch.where(counted.any(1), (log_probs.exp() * counted).sum(1) / count, 1.0)
    return log_probs.amin(1).exp()
