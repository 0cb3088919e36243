"""Algorithm 2: who answers a sample."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Literal

import torch
from torch import Tensor

from kcm_lightning.utils.errors import InputError

SecondGate = Literal["student", "teacher"]


@dataclass
class Thresholds:
    """Confidence from which on each model is trusted (the paper's epsilon), a fraction in [0, 1].

    A sample is kept by a model when `confidence >= threshold`: 0 keeps every sample, and `null` closes the
    gate, so that the model keeps none.

    Args:
        judge: threshold of the judge.
        student: threshold of the student.
        teacher: threshold of the large model.
    """

    judge: float | None = 0.98
    student: float | None = 0.98
    teacher: float | None = 0.98

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(
                    f"threshold {field.name}={value} is outside [0, 1]; give a confidence, or null"
                )


class Route(IntEnum):
    """Who answered a sample."""

    JUDGE = 0
    STUDENT = 1
    TEACHER = 2


def keeps(confidence: Tensor, threshold: float | None) -> Tensor:
    """Which samples a gate keeps: `confidence >= threshold`.

    Args:
        confidence: shape `(B,)`.
        threshold: fraction in [0, 1], or None for a gate that keeps nothing.

    Returns:
        Booleans, shape `(B,)`.

    >>> keeps(torch.tensor([0.97, 0.98]), 0.98).tolist()
    [False, True]
    """
    if threshold is None:
        return torch.zeros_like(confidence, dtype=torch.bool)
    return confidence >= threshold


def route(
    *, judge: Tensor, second: Tensor, thresholds: Thresholds, second_gate: SecondGate = "student"
) -> Tensor:
    """Algorithm 2 on the confidences of a batch.

    Args:
        judge: confidence of the judge, shape `(B,)`.
        second: confidence at the second gate, shape `(B,)`: the student's own, or the large model's where
            `second_gate` is "teacher" (the algorithm as printed).
        thresholds: the thresholds of inference.
        second_gate: "student" or "teacher": whose threshold `second` is compared with.

    Returns:
        `Route` codes, shape `(B,)`.

    >>> confidence = torch.tensor([0.99, 0.5, 0.5]), torch.tensor([0.9, 0.99, 0.5])
    >>> codes = route(judge=confidence[0], second=confidence[1], thresholds=Thresholds())
    >>> [Route(code).name for code in codes.tolist()]
    ['JUDGE', 'STUDENT', 'TEACHER']
    """
    routes = torch.full_like(judge, Route.TEACHER, dtype=torch.long)
    routes[keeps(second, getattr(thresholds, second_gate))] = Route.STUDENT
    routes[keeps(judge, thresholds.judge)] = Route.JUDGE
    return routes
