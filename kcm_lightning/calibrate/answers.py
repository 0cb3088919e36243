"""Every model's answers to the validation split: enough to replay any thresholds without a model."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from scipy.stats import binomtest, norm
from torch import Tensor

from kcm_lightning.core.routing import Route, Thresholds, route
from kcm_lightning.metrics.image_scores import ImageScores, score_difference
from kcm_lightning.utils.errors import InputError

Interval = dict[str, float]


@dataclass
class ValidationAnswers(ABC):
    """The answers of judge, student and large model to N samples.

    Args:
        judge_confidence: confidence of the judge, temperature applied, shape `(N,)`.
        gate_score: what the student's gate compares: the student's confidence, temperature applied, or the
            learned gate's score, shape `(N,)`.
        student_doubt: how much more probable than the judge's answer the student finds its own, at least 0,
            shape `(N,)`.
    """

    judge_confidence: Tensor
    gate_score: Tensor
    student_doubt: Tensor

    def __len__(self) -> int:
        return len(self.judge_confidence)

    def rows(self, rows: Tensor) -> Self:
        """The samples at some rows."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self,
            **{
                name: values[rows] if isinstance(values, Tensor) else values.rows(rows)
                for name, values in columns.items()
            },
        )

    def routes(self, thresholds: Thresholds) -> Tensor:
        """Who answers each sample, `Route` codes, shape `(N,)`."""
        return route(judge=self.judge_confidence, second=self.gate_score, thresholds=thresholds)

    def lm_rate(self, thresholds: Thresholds) -> float:
        """Share of the samples that the large model is called for."""
        return (self.routes(thresholds) == Route.TEACHER).double().mean().item()

    @abstractmethod
    def quality(self, routes: Tensor, measure: str) -> float:
        """How good the answers are where each sample has a route; `measure` is a `Target.measure`."""

    @abstractmethod
    def quality_of_large(self, measure: str) -> float:
        """How good the large model's own answers are."""

    @abstractmethod
    def intervals(self, routes: Tensor, level: float) -> dict[str, Interval]:
        """The qualities of such answers, and their differences to the large model's.

        Each is `{"mean", "low", "high"}`.
        """


@dataclass
class ClassAnswers(ValidationAnswers):
    """Answers that are right or wrong.

    Args:
        judge_confidence: see `ValidationAnswers`.
        gate_score: see `ValidationAnswers`.
        student_doubt: see `ValidationAnswers`.
        judge_right: whether the judge's answer is right, shape `(N,)`.
        student_right: whether the student's answer is right, shape `(N,)`.
        teacher_right: whether the large model's own answer is right, shape `(N,)`.
        fused_right: whether the answer to a sample that goes to the large model is right, shape `(N,)`: the
            fused one, or the large model's own.
    """

    judge_right: Tensor
    student_right: Tensor
    teacher_right: Tensor
    fused_right: Tensor

    def right(self, routes: Tensor) -> Tensor:
        """Whether the answers are right, shape `(N,)`."""
        by_route = torch.stack([self.judge_right, self.student_right, self.fused_right])
        return by_route.gather(0, routes.unsqueeze(0)).squeeze(0)

    def quality(self, routes: Tensor, measure: str) -> float:
        if measure != "accuracy":
            raise InputError(f"a {measure} drop is for captions; with classes, give accuracy_drop or lm_rate")
        return self.right(routes).double().mean().item()

    def quality_of_large(self, measure: str) -> float:
        return self.teacher_right.double().mean().item()

    def intervals(self, routes: Tensor, level: float) -> dict[str, Interval]:
        right = self.right(routes)
        difference = right.double() - self.teacher_right.double()
        half = norm.ppf((1 + level) / 2) * difference.std().item() / len(self) ** 0.5
        mean = difference.mean().item()
        against = {"mean": mean, "low": mean - half, "high": mean + half}
        return {"accuracy": share(right, level), "accuracy_minus_teacher": against}


@dataclass
class CaptionAnswers(ValidationAnswers):
    """Captions, by what each brings to the scores.

    Args:
        judge_confidence: see `ValidationAnswers`.
        gate_score: see `ValidationAnswers`.
        student_doubt: see `ValidationAnswers`.
        judge: scores of the judge's captions.
        student: scores of the student's captions.
        teacher: scores of the large model's captions.
        fused: scores of the captions of images that go to the large model: its own, or the better of two.
    """

    judge: ImageScores
    student: ImageScores
    teacher: ImageScores
    fused: ImageScores

    def _mixed(self, routes: Tensor) -> ImageScores:
        return ImageScores.chosen([self.judge, self.student, self.fused], routes)

    def quality(self, routes: Tensor, measure: str) -> float:
        return self._mixed(routes).scores()[measure]

    def quality_of_large(self, measure: str) -> float:
        return self.teacher.scores()[measure]

    def intervals(self, routes: Tensor, level: float) -> dict[str, Interval]:
        against = score_difference(self._mixed(routes), self.teacher, level)
        result = {}
        for name, figures in against.items():
            mean = figures.pop("difference")
            result[f"{name}_minus_teacher"] = {"mean": mean, **figures}
        return result


def share(flags: Tensor, level: float) -> Interval:
    """Share of samples that a flag is set for, with Wilson's interval.

    Args:
        flags: shape `(N,)`.
        level: level of the interval, a fraction.

    Returns:
        `mean`, `low` and `high`, fractions.

    >>> found = share(torch.tensor([True, False]), level=0.95)
    >>> found["mean"], round(found["low"], 2), round(found["high"], 2)
    (0.5, 0.09, 0.91)
    """
    interval = binomtest(int(flags.sum()), len(flags)).proportion_ci(level, method="wilson")
    return {"mean": flags.double().mean().item(), "low": float(interval.low), "high": float(interval.high)}
