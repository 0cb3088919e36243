"""Choosing the gates' thresholds: temperature first, then the judge's gate, then the student's.

The judge keeps what it answers as well as the student would, so that its gate costs no accuracy; what is left is
a search over one number, which stays stable on a thousand samples where a search over two would fit their noise.
"""

from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest, norm
from torch import Tensor
from torch.nn.functional import cross_entropy

from kcm_lightning.errors import InputError
from kcm_lightning.gating import Route, Thresholds, route


@dataclass
class RecordedAnswers:
    """What each model said of N samples, enough to replay any threshold without running a model.

    Args:
        judge_confidence: shape `(N,)`.
        student_confidence: shape `(N,)`.
        student_doubt: how much more probable than the judge's answer the student finds its own, shape `(N,)`.
        judge_right: whether the judge's answer is right, shape `(N,)`.
        student_right: likewise of the student.
        teacher_right: likewise of the large model.
    """

    judge_confidence: Tensor
    student_confidence: Tensor
    student_doubt: Tensor
    judge_right: Tensor
    student_right: Tensor
    teacher_right: Tensor

    def __len__(self) -> int:
        return len(self.judge_confidence)

    def rows(self, rows: Tensor) -> "RecordedAnswers":
        """The samples at some rows."""
        return RecordedAnswers(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def replay(self, thresholds: Thresholds) -> tuple[Tensor, Tensor]:
        """Whether the collaboration is right, and whether it calls the large model, each of shape `(N,)`."""
        routes = route(self.judge_confidence, self.student_confidence, thresholds)
        right = torch.stack([self.judge_right, self.student_right, self.teacher_right])
        return right.gather(0, routes.unsqueeze(0)).squeeze(0), routes == Route.TEACHER


@dataclass
class Target:
    """What thresholds are chosen for.

    Args:
        kind: "lm_rate", call the large model for at most this share of the samples; or "accuracy_drop", call
            it as seldom as an accuracy within this of the large model's allows.
        value: a fraction in [0, 1].
    """

    kind: str
    value: float

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Reads `lm_rate=0.75` or `accuracy_drop=0.005`."""
        kind, _, value = text.partition("=")
        try:
            target = cls(kind.strip(), float(value))
        except ValueError:
            target = cls("", 0.0)
        if target.kind not in ("lm_rate", "accuracy_drop") or not 0 <= target.value <= 1:
            raise InputError(f"target {text!r} is not lm_rate=X or accuracy_drop=X with X from 0 to 1")
        return target


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


def judge_threshold(answers: RecordedAnswers, tolerance: float = 0.0002) -> float | None:
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


def choose_thresholds(answers: RecordedAnswers, target: Target, steps: int = 400) -> Thresholds:
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
    floor = answers.teacher_right.double().mean().item() - target.value
    for chosen in choices:  # lowest confidence first: fewest calls first
        if answers.replay(chosen)[0].double().mean().item() >= floor:
            return chosen
    return Thresholds(None, None)


def _called(answers: RecordedAnswers, thresholds: Thresholds) -> float:
    return answers.replay(thresholds)[1].double().mean().item()


def expected_on_unseen(answers: RecordedAnswers, target: Target, folds: int = 10, level: float = 0.95) -> dict:
    """What the chosen thresholds will do on unseen data: chosen on all folds but one, read off that one.

    Args:
        answers: as of `choose_thresholds`.
        target: as of `choose_thresholds`.
        folds: how often to split.
        level: of the intervals, which cover the sampling of N samples (Wilson; normal for the difference).

    Returns:
        `lm_rate`, `accuracy` and `accuracy_minus_teacher`, each as `{"mean", "low", "high"}`, fractions.
    """
    order = torch.randperm(len(answers), generator=torch.Generator().manual_seed(0))
    right = torch.zeros(len(answers), dtype=torch.bool)
    called = torch.zeros(len(answers), dtype=torch.bool)
    for held_out in order.chunk(folds):
        rest = order[~torch.isin(order, held_out)]
        chosen = choose_thresholds(answers.rows(rest), target)
        right[held_out], called[held_out] = answers.rows(held_out).replay(chosen)
    difference = right.double() - answers.teacher_right.double()
    half = norm.ppf((1 + level) / 2) * difference.std().item() / len(answers) ** 0.5
    mean = difference.mean().item()
    return {
        "lm_rate": _share(called, level),
        "accuracy": _share(right, level),
        "accuracy_minus_teacher": {"mean": mean, "low": mean - half, "high": mean + half},
    }


def _share(flags: Tensor, level: float) -> dict:
    interval = binomtest(int(flags.sum()), len(flags)).proportion_ci(level, method="wilson")
    return {"mean": flags.double().mean().item(), "low": float(interval.low), "high": float(interval.high)}
