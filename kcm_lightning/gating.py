"""Confidence (equation 1), Algorithm 1's partition and Algorithm 2's route."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Literal

import torch
from torch import Tensor

from kcm_lightning.errors import InputError


@dataclass
class Thresholds:
    """Confidence at which each model is believed (the paper's epsilon), a fraction in [0, 1].

    A sample is kept by a model when `confidence >= threshold`: 0 keeps every sample, and `null` turns the
    gate off, so that the model keeps none.

    Args:
        judge: threshold of the judge.
        student: threshold of the student.
        teacher: threshold of the large model.
    """

    judge: float | None = 0.98
    student: float | None = 0.98
    teacher: float | None = 0.98

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"threshold {field.name}={value} is outside [0, 1]; give a confidence, or null")


@dataclass
class Temperatures:
    """Divisors of each model's logits before its confidence is read (Guo et al. 2017); 1 changes nothing."""

    judge: float = 1.0
    student: float = 1.0
    teacher: float = 1.0

    def __post_init__(self):
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise InputError(f"temperature {field.name}={getattr(self, field.name)} must be above 0")


@dataclass
class Pruning:
    """Classes that the student leaves to the others at inference, MCM's "prompt pruning".

    Args:
        classes: class indices.
        how: "mask" takes the classes out; "zero" sets their logits to 0, as Data Shunt's code does, which raises those that were
            negative.
    """

    classes: list[int]
    how: Literal["mask", "zero"] = "mask"

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits with the classes pruned, shape `(..., V)`."""
        pruned = logits.clone()
        pruned[..., self.classes] = float("-inf") if self.how == "mask" else 0.0
        return pruned


def pruned(logits: Tensor, pruning: Pruning | None) -> Tensor:
    """Logits with classes pruned where any are, shape `(..., V)`."""
    return logits if pruning is None else pruning(logits)


class Route(IntEnum):
    """Who answered a sample (Algorithm 2)."""

    JUDGE = 0
    STUDENT = 1
    TEACHER = 2


class Part(IntEnum):
    """What teaches the student on a sample (Algorithm 1's x1, x2 and x3)."""

    JUDGE = 1
    TEACHER = 2
    NONE = 3


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Softmax over the last axis in float32, which half precision would round to exactly 1.

    Args:
        logits: shape `(..., V)`.
        temperature: divisor of the logits.

    Returns:
        Shape `(..., V)`, float32.
    """
    with torch.autocast(logits.device.type, enabled=False):
        return (logits.float() / temperature).softmax(-1)


def tempered(distribution: Tensor, temperature: float) -> Tensor:
    """The distribution that a model's logits divided by a temperature would give.

    Args:
        distribution: probabilities, shape `(..., V)`.
        temperature: divisor of the logits; 1 changes nothing.

    Returns:
        Shape `(..., V)`.
    """
    if temperature == 1.0:
        return distribution
    return (distribution.clamp_min(torch.finfo(distribution.dtype).tiny).log() / temperature).softmax(-1)


CaptionConfidence = Literal["geometric_mean", "mean", "minimum"]


def caption_confidence(log_probabilities: Tensor, counted: Tensor, kind: CaptionConfidence = "geometric_mean") -> Tensor:
    """Confidence in captions, out of the probabilities of their tokens.

    Args:
        log_probabilities: of each token, shape `(B, L)`; may be infinite where it does not count.
        counted: which tokens are the caption's, its end included, shape `(B, L)`.
        kind: mean of the probabilities, geometric or plain, or the least of them.

    Returns:
        Fractions in [0, 1], float32, shape `(B,)`; 1 for a caption without tokens.
    """
    said = log_probabilities.float().masked_fill(~counted, 0.0)
    many = counted.sum(1).clamp_min(1)
    if kind == "geometric_mean":
        return (said.sum(1) / many).exp()
    if kind == "mean":
        return torch.where(counted.any(1), (said.exp() * counted).sum(1) / many, 1.0)
    return said.amin(1).exp()


def keeps(confidence: Tensor, threshold: float | None) -> Tensor:
    """Which samples a gate keeps, `confidence >= threshold`.

    Args:
        confidence: shape `(B,)`.
        threshold: fraction in [0, 1], or None for a gate that keeps nothing.

    Returns:
        Booleans, shape `(B,)`.
    """
    if threshold is None:
        return torch.zeros_like(confidence, dtype=torch.bool)
    return confidence >= threshold


def partition(
    judge: Tensor,
    teacher: Tensor,
    thresholds: Thresholds,
    order: Literal["teacher_first", "printed"] = "teacher_first",
) -> Tensor:
    """Algorithm 1's partition of training samples.

    As printed, the judge is asked first. On samples it was trained on it is nearly always sure, so that it
    mostly teaches the student what the student already knows; `teacher_first` asks the large model first.

    Args:
        judge: confidence of the judge on the clean view, shape `(B,)`.
        teacher: confidence of the large model, shape `(B,)`.
        thresholds: the distillation thresholds.
        order: who is asked first.

    Returns:
        `Part` codes, shape `(B,)`.
    """
    by_judge, by_teacher = keeps(judge, thresholds.judge), keeps(teacher, thresholds.teacher)
    parts = torch.full_like(judge, Part.NONE, dtype=torch.long)
    if order == "printed":
        parts[by_teacher] = Part.TEACHER
        parts[by_judge] = Part.JUDGE
    else:
        parts[by_judge] = Part.JUDGE
        parts[by_teacher] = Part.TEACHER
    return parts


def route(judge: Tensor, second: Tensor, thresholds: Thresholds, second_gate: str = "student") -> Tensor:
    """Algorithm 2's route of samples.

    Args:
        judge: confidence of the judge, shape `(B,)`.
        second: confidence at the second gate, the student's own, or the large model's where
            `second_gate` is "teacher" (the algorithm as printed), shape `(B,)`.
        thresholds: the inference thresholds.
        second_gate: "student" or "teacher", whose threshold applies to `second`.

    Returns:
        `Route` codes, shape `(B,)`.
    """
    routes = torch.full_like(judge, Route.TEACHER, dtype=torch.long)
    routes[keeps(second, getattr(thresholds, second_gate))] = Route.STUDENT
    routes[keeps(judge, thresholds.judge)] = Route.JUDGE
    return routes


def take(inputs: Any, rows: Tensor) -> Any:
    """Rows of a batch, whether it is a tensor, a list, or a dictionary of these.

    Args:
        inputs: a batch of B samples.
        rows: indices of the rows to take, shape `(R,)`.

    Returns:
        The batch of R samples, of the same kind.
    """
    if isinstance(inputs, Tensor):
        return inputs[rows.to(inputs.device)]
    if isinstance(inputs, dict):
        return {key: take(value, rows) for key, value in inputs.items()}
    return [inputs[row] for row in rows.tolist()]
