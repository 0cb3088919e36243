"""Choosing the gates' thresholds: temperature first, then the judge's gate, then the student's.

The judge keeps what it answers as well as the student would, so that its gate costs no accuracy; what is left is
a search over one number, which stays stable on a thousand samples where a search over two would fit their noise.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

import torch
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, norm
from torch import Tensor
from torch.nn.functional import cross_entropy

from kcm_lightning.errors import InputError
from kcm_lightning.gating import Route, Thresholds, route


@dataclass
class Recorded(ABC):
    """What each model said of N samples, enough to replay any threshold without running a model.

    Args:
        judge_confidence: shape `(N,)`.
        student_confidence: shape `(N,)`.
        student_doubt: how much more probable than the judge's answer the student finds its own, at least 0, shape `(N,)`.
    """

    judge_confidence: Tensor
    student_confidence: Tensor
    student_doubt: Tensor

    def __len__(self) -> int:
        return len(self.judge_confidence)

    @abstractmethod
    def rows(self, rows: Tensor) -> "Recorded":
        """The samples at some rows."""

    def routes(self, thresholds: Thresholds) -> Tensor:
        """Who answers each sample, `Route` codes, shape `(N,)`."""
        return route(self.judge_confidence, self.student_confidence, thresholds)

    @abstractmethod
    def quality(self, routes: Tensor, measure: str) -> float:
        """How good the answers are where each sample has a route; `measure` is of `Target.measure`."""

    @abstractmethod
    def intervals(self, routes: Tensor, level: float) -> dict[str, dict]:
        """The qualities of such answers, and their differences to the large model's, each as `{"mean", "low", "high"}`."""

    def all_teacher(self) -> Tensor:
        """Routes that send every sample to the large model."""
        return torch.full((len(self),), int(Route.TEACHER))


@dataclass
class RecordedClasses(Recorded):
    """Recorded answers that are right or wrong.

    Args:
        judge_confidence, student_confidence, student_doubt: as of `Recorded`.
        judge_right: whether the judge's answer is right, shape `(N,)`.
        student_right: likewise of the student.
        teacher_right: likewise of the large model.
    """

    judge_right: Tensor
    student_right: Tensor
    teacher_right: Tensor

    def rows(self, rows: Tensor) -> "RecordedClasses":
        return RecordedClasses(*(getattr(self, field.name)[rows] for field in fields(self)))

    def right(self, routes: Tensor) -> Tensor:
        """Whether the answers are right, shape `(N,)`."""
        return torch.stack([self.judge_right, self.student_right, self.teacher_right]).gather(0, routes.unsqueeze(0)).squeeze(0)

    def quality(self, routes: Tensor, measure: str) -> float:
        if measure != "accuracy":
            raise InputError(f"a {measure} drop is for captions; with classes, give accuracy_drop or lm_rate")
        return self.right(routes).double().mean().item()

    def intervals(self, routes: Tensor, level: float) -> dict[str, dict]:
        right = self.right(routes)
        difference = right.double() - self.teacher_right.double()
        half = norm.ppf((1 + level) / 2) * difference.std().item() / len(self) ** 0.5
        mean = difference.mean().item()
        against = {"mean": mean, "low": mean - half, "high": mean + half}
        return {"accuracy": share(right, level), "accuracy_minus_teacher": against}


MEASURES = {"accuracy_drop": "accuracy", "bleu_drop": "BLEU-4", "cider_drop": "CIDEr"}


@dataclass
class Target:
    """What thresholds are chosen for.

    Args:
        kind: "lm_rate", call the large model for at most this share of the samples; or "accuracy_drop", "bleu_drop" (of BLEU-4)
            or "cider_drop", call it as seldom as a quality within this of the large model's allows.
        value: a fraction in [0, 1].
    """

    kind: str
    value: float

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Reads `lm_rate=0.75`, `accuracy_drop=0.005`, ..."""
        kind, _, value = text.partition("=")
        try:
            target = cls(kind.strip(), float(value))
        except ValueError:
            target = cls("", 0.0)
        if target.kind not in ("lm_rate", *MEASURES) or not 0 <= target.value <= 1:
            raise InputError(f"target {text!r} is none of lm_rate=X, {'=X, '.join(MEASURES)}=X with X from 0 to 1")
        return target

    @property
    def measure(self) -> str | None:
        """What must not drop; None for an LM rate."""
        return MEASURES.get(self.kind)


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """Temperature that minimises the negative log-likelihood (Guo et al. 2017).

    Args:
        logits: shape `(N, V)`.
        target: class indices, shape `(N,)`.

    Returns:
        A positive number, within [0.05, 20]; 1 where there is nothing to fit.
    """
    if not len(target):
        return 1.0
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return cross_entropy(logits / 2.0**log_temperature, target).item()

    bound = float(torch.log2(torch.tensor(20.0)))
    return float(2.0 ** minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x)


def judge_threshold(answers: Recorded, tolerance: float = 0.0002) -> float | None:
    """Lowest confidence down to which the judge's answers cost no accuracy against the student's.

    What they cost is read off the student's calibrated probabilities, not off who happened to be right: a thousand samples
    hold too few on which the two differ, and the lowest confidence that comes out even would be the luckiest of many trials.

    Args:
        answers: as of `choose_thresholds`.
        tolerance: expected loss that is allowed, as a share of all samples. It buys little: what the judge keeps, the
            student would mostly have kept too, so that no call of the large model is saved by it.

    Returns:
        A confidence, or None where even what the judge is most sure of would cost more.
    """
    order = answers.judge_confidence.argsort(descending=True)
    loss = answers.student_doubt[order].double().cumsum(0)  # never falls
    confidence = answers.judge_confidence[order]
    last_of_ties = torch.ones_like(loss, dtype=torch.bool)
    last_of_ties[:-1] = confidence[1:] < confidence[:-1]  # a threshold keeps equals together
    allowed = (loss <= tolerance * len(answers)) & last_of_ties
    return confidence[allowed].min().item() if allowed.any() else None


def choose_thresholds(answers: Recorded, target: Target, steps: int = 400) -> Thresholds:
    """Thresholds of judge and student that meet a target.

    Args:
        answers: recorded on data that neither model was trained on, temperatures applied.
        target: what to meet.
        steps: how many candidates for the student, evenly spread over its confidences.

    Returns:
        The judge's threshold as of `judge_threshold`, and the student's. Where no candidate meets the target, None for
        both: the large model answers all.
    """
    surely = judge_threshold(answers)
    candidates = answers.student_confidence.double().quantile(torch.linspace(0, 1, steps + 1, dtype=torch.double)).tolist()
    # the judge never keeps what is too unsure for the student's gate
    choices = [Thresholds(None if surely is None else max(surely, c), c) for c in candidates]
    if target.kind == "lm_rate":
        return max((t for t in choices if _called(answers, t) <= target.value), key=lambda t: t.student)
    floor = answers.quality(answers.all_teacher(), target.measure) - target.value
    for chosen in choices:  # lowest confidence first: fewest calls first
        if answers.quality(answers.routes(chosen), target.measure) >= floor:
            return chosen
    return Thresholds(None, None)


def _called(answers: Recorded, thresholds: Thresholds) -> float:
    return (answers.routes(thresholds) == Route.TEACHER).double().mean().item()


def expected_on_unseen(answers: Recorded, target: Target, folds: int = 10, level: float = 0.95) -> dict:
    """What the chosen thresholds will do on unseen data: chosen on all folds but one, read off that one.

    Args:
        answers: as of `choose_thresholds`.
        target: as of `choose_thresholds`.
        folds: how often to split.
        level: of the intervals, which cover the sampling of N samples.

    Returns:
        `lm_rate` and, as of `Recorded.intervals`, the qualities, each as `{"mean", "low", "high"}`.
    """
    order = torch.randperm(len(answers), generator=torch.Generator().manual_seed(0))
    routes = torch.zeros(len(answers), dtype=torch.long)
    for held_out in order.chunk(folds):
        rest = order[~torch.isin(order, held_out)]
        chosen = choose_thresholds(answers.rows(rest), target)
        routes[held_out] = answers.rows(held_out).routes(chosen)
    return {"lm_rate": share(routes == Route.TEACHER, level)} | answers.intervals(routes, level)


def share(flags: Tensor, level: float) -> dict:
    """Share of samples that a flag is set for, with Wilson's interval."""
    interval = binomtest(int(flags.sum()), len(flags)).proportion_ci(level, method="wilson")
    return {"mean": flags.double().mean().item(), "low": float(interval.low), "high": float(interval.high)}
