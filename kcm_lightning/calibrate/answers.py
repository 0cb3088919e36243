"""Every model's answers to the validation split: enough to replay any thresholds without a model."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from scipy.stats import binomtest, norm
from torch import Tensor

from kcm_lightning.calibrate.target import Prices, Target
from kcm_lightning.core.routing import Route, Thresholds, route
from kcm_lightning.metrics.image_scores import HIGHEST_CIDER, ImageScores, bleu_of, score_difference
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
                if values is not None
            },
        )

    def routes(self, thresholds: Thresholds) -> Tensor:
        """Who answers each sample, `Route` codes, shape `(N,)`."""
        return route(judge=self.judge_confidence, second=self.gate_score, thresholds=thresholds)

    def lm_rate(self, thresholds: Thresholds) -> float:
        """Share of the samples that the large model is called for."""
        return share_routed(self.routes(thresholds))

    def lm_rates(self, judge: float | None, scores: Tensor) -> Tensor:
        """LM rates at many thresholds of the student's gate at once, shape `(K,)`, float64.

        Args:
            judge: the judge's threshold where it is above the student's, which it never falls below; None for
                a judge that keeps nothing.
            scores: the student's thresholds, shape `(K,)`.
        """
        return self._share_below(self._kept_down_to(judge)[1], scores)

    def asked(self, judge: float | None, scores: Tensor) -> Tensor:
        """Share of the samples that the student sees, at many thresholds, see `lm_rates`; shape `(K,)`."""
        return self._share_below(self._kept_down_to(judge)[0], scores)

    def _share_below(self, keys: Tensor, scores: Tensor) -> Tensor:
        """Share of the samples whose key is below each score, shape `(K,)`."""
        kept = _sum_from(keys, torch.ones(len(self), 1, dtype=torch.double), scores)
        return 1 - kept.squeeze(1) / len(self)

    def qualities(self, judge: float | None, scores: Tensor, measure: str) -> Tensor:
        """Qualities at many thresholds, see `lm_rates`; `measure` is a `Target.measure`."""
        by_judge, by_small = self._kept_down_to(judge)
        judges, students, routed = self._values()
        replaced = _sum_from(by_small, students - routed, scores)
        replaced += _sum_from(by_judge, judges - students, scores)
        return self._quality_of(routed.sum(0) + replaced, measure)

    def _kept_down_to(self, judge: float | None) -> tuple[Tensor, Tensor]:
        """Threshold down to which the judge, and either small model, keeps each sample, shape `(N,)`."""
        never = torch.full_like(self.judge_confidence, float("-inf"))
        own = self.judge_confidence
        by_judge = never if judge is None else torch.where(own >= judge, own, never)
        return by_judge, torch.maximum(by_judge, self.gate_score)

    def quality(self, routes: Tensor, measure: str) -> float:
        """How good the answers are where each sample has a route; `measure` is a `Target.measure`."""
        every = torch.arange(len(self))
        return self._quality_of(torch.stack(self._values())[routes, every].sum(0), measure).item()

    @abstractmethod
    def _values(self) -> tuple[Tensor, Tensor, Tensor]:
        """What adds up to the quality of the judge's, the student's and the routed answers, `(N, D)` each."""

    @abstractmethod
    def _quality_of(self, total: Tensor, measure: str) -> Tensor:
        """Quality out of sums of such values, shape `(..., D)` to `(...)`."""

    def cost(self, thresholds: Thresholds, prices: Prices) -> float:
        """What a sample costs on average."""
        routes = self.routes(thresholds)
        asked = (routes != Route.JUDGE).double().mean().item()
        return prices.spent(asked, share_routed(routes))

    @abstractmethod
    def quality_of_large(self, measure: str) -> float:
        """How good the large model's own answers are."""

    @abstractmethod
    def losses(self, routes: Tensor, target: Target) -> Tensor:
        """What each sample loses in the sense of a target, from -1 to 1, shape `(N,)`."""

    @abstractmethod
    def means(self, routes: Tensor) -> dict[str, float]:
        """The same figures as `intervals` has, alone."""

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
        differs: whether the judge's, the student's and the routed answer differ from the large model's own,
            shape `(N, 3)`; None where that is not known.
    """

    judge_right: Tensor
    student_right: Tensor
    teacher_right: Tensor
    fused_right: Tensor
    differs: Tensor | None = None

    def right(self, routes: Tensor) -> Tensor:
        """Whether the answers are right, shape `(N,)`."""
        by_route = torch.stack([self.judge_right, self.student_right, self.fused_right])
        return by_route.gather(0, routes.unsqueeze(0)).squeeze(0)

    def _values(self) -> tuple[Tensor, Tensor, Tensor]:
        judge, student, routed = self.judge_right, self.student_right, self.fused_right
        return judge.double().unsqueeze(1), student.double().unsqueeze(1), routed.double().unsqueeze(1)

    def _quality_of(self, total: Tensor, measure: str) -> Tensor:
        if measure != "accuracy":
            raise InputError(f"a {measure} drop is for captions; with classes, give accuracy_drop or lm_rate")
        return total.squeeze(-1) / len(self)

    def quality_of_large(self, measure: str) -> float:
        return self.teacher_right.double().mean().item()

    def losses(self, routes: Tensor, target: Target) -> Tensor:
        right = self.right(routes).double()
        return self.teacher_right.double() - right if target.is_drop else 1 - right

    def means(self, routes: Tensor) -> dict[str, float]:
        accuracy, large = self.quality(routes, "accuracy"), self.quality_of_large("accuracy")
        return {"accuracy": accuracy, "accuracy_minus_teacher": accuracy - large}

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

    def _values(self) -> tuple[Tensor, Tensor, Tensor]:
        judge, student, routed = (
            torch.cat([own.bleu, own.cider.unsqueeze(1)], dim=1)
            for own in (self.judge, self.student, self.fused)
        )
        return judge, student, routed

    def _quality_of(self, total: Tensor, measure: str) -> Tensor:
        return total[..., -1] / len(self) if measure == "CIDEr" else bleu_of(total[..., :-1])[..., 3]

    def quality_of_large(self, measure: str) -> float:
        return self.teacher.scores()[measure]

    def losses(self, routes: Tensor, target: Target) -> Tensor:
        mixed = self._mixed(routes)
        if target.measure == "CIDEr":
            return (self.teacher.cider - mixed.cider) / HIGHEST_CIDER
        large, own = (bleu_of(scores.bleu)[:, 3] for scores in (self.teacher, mixed))
        return large - own

    def means(self, routes: Tensor) -> dict[str, float]:
        own, large = self._mixed(routes).scores(), self.teacher.scores()
        return {f"{name}_minus_teacher": own[name] - large[name] for name in ("BLEU-4", "CIDEr")}

    def intervals(self, routes: Tensor, level: float) -> dict[str, Interval]:
        against = score_difference(self._mixed(routes), self.teacher, level)
        result = {}
        for name, figures in against.items():
            mean = figures.pop("difference")
            result[f"{name}_minus_teacher"] = {"mean": mean, **figures}
        return result


def _sum_from(keys: Tensor, values: Tensor, thresholds: Tensor) -> Tensor:
    """Sum of the values whose key is at least each threshold, shape `(K, D)`."""
    order = keys.argsort(descending=True)
    sums = torch.cat([values.new_zeros(1, values.shape[1]), values[order].cumsum(0)])
    below = torch.searchsorted(-keys[order], -thresholds.to(keys.dtype), right=True)
    return sums[below]


def share_routed(routes: Tensor) -> float:
    """LM rate of some routes.

    >>> share_routed(torch.tensor([Route.TEACHER, Route.JUDGE]))
    0.5
    """
    return (routes == Route.TEACHER).double().mean().item()


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
