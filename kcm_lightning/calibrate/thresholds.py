"""Choosing the gates' thresholds: the judge's gate first, then the student's.

The judge keeps what it answers as well as the student would, so that its gate costs no accuracy; what is left
is a search over one number, which stays stable on a thousand samples where a search over two would fit their
noise.
"""

import math

import torch
from scipy.stats import norm
from torch import Tensor

from kcm_lightning.calibrate.answers import Interval, ValidationAnswers, share, share_routed
from kcm_lightning.calibrate.folds import folds_of
from kcm_lightning.calibrate.target import Target
from kcm_lightning.core.routing import Route, Thresholds

_DRAWS = 100  # resamplings


def judge_threshold(answers: ValidationAnswers, tolerance: float = 0.0002) -> float | None:
    """Lowest confidence down to which the judge's answers cost no accuracy against the student's.

    What they cost is read off the student's calibrated probabilities, not off who happened to be right: a
    thousand samples hold too few on which the two differ, and the lowest confidence that comes out even would
    be the luckiest of many trials.

    Args:
        answers: see `choose_thresholds`.
        tolerance: expected loss that is allowed, as a share of all samples. It buys little: what the judge
            keeps, the student would mostly have kept too, so that no call of the large model is saved by it.

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


def choose_thresholds(answers: ValidationAnswers, target: Target, steps: int = 400) -> Thresholds:
    """Thresholds of judge and student that meet a target.

    Args:
        answers: answers to samples that neither model was trained on, temperatures applied.
        target: what to meet.
        steps: number of candidates for the student, evenly spread over the scores of its gate.

    Returns:
        The judge's threshold, see `judge_threshold`, and the student's. Where no candidate meets the target,
        None for both: the large model answers all.

    >>> from kcm_lightning.calibrate.answers import ClassAnswers
    >>> confidence, right = torch.tensor([0.9, 0.6]), torch.tensor([True, False])
    >>> both = torch.tensor([True, True])
    >>> answers = ClassAnswers(confidence, confidence, torch.zeros(2), right, right, both, fused_right=both)
    >>> thresholds = choose_thresholds(answers, Target("accuracy_drop", 0.0))
    >>> 0.6 < thresholds.student <= 0.9  # the less confident sample goes to the large model
    True
    """
    surely = judge_threshold(answers)
    places = torch.linspace(0, 1, steps + 1, dtype=torch.double)
    scores = answers.gate_score.double().quantile(places)  # lowest first: fewest calls first
    if target.is_quality:
        floor = target.value
        if target.is_drop:
            floor = answers.quality_of_large(target.measure) - target.value
        meets = (answers.qualities(surely, scores, target.measure) >= floor).nonzero().flatten()[:1]
    else:
        within = _spent(answers, surely, scores, target) <= target.value
        within[0] = True  # less cannot be spent
        meets = within.nonzero().flatten()[-1:]
    if not len(meets):
        return Thresholds(None, None)
    score = scores[meets].item()
    # the judge never keeps what is too unsure for the student's gate
    return Thresholds(None if surely is None else max(surely, score), score)


def _spent(answers: ValidationAnswers, judge: float | None, scores: Tensor, target: Target) -> Tensor:
    """LM rate, or what a sample costs, at thresholds of the student's gate, shape `(K,)`."""
    lm_rates, prices = answers.lm_rates(judge, scores), target.prices
    if prices is None:
        return lm_rates
    return prices.spent(answers.asked(judge, scores), lm_rates)


def expected_on_unseen(
    answers: ValidationAnswers, target: Target, folds: int = 10, level: float = 0.95
) -> dict[str, Interval]:
    """What the chosen thresholds will do on unseen data: chosen on all folds but one, read off that one.

    The intervals are of what N or more new samples show. They cover the sampling of both, and that other
    samples would have led to other thresholds: how far these are apart is seen on samples that are drawn from
    the N with replacement.

    Args:
        answers: see `choose_thresholds`.
        target: see `choose_thresholds`.
        folds: parts that the samples are split into.
        level: level of the intervals.

    Returns:
        `lm_rate` and the qualities, see `ValidationAnswers.intervals`, each as `{"mean", "low", "high"}`.
    """
    routes = torch.zeros(len(answers), dtype=torch.long)
    for kept, held_out in folds_of(len(answers), folds):
        chosen = choose_thresholds(answers.rows(kept), target)
        routes[held_out] = answers.rows(held_out).routes(chosen)
    found = _intervals(answers, routes, level)
    spread = _spread_of_choices(answers, target)
    return {name: _widened(own, spread[name] * norm.ppf((1 + level) / 2)) for name, own in found.items()}


def _spread_of_choices(answers: ValidationAnswers, target: Target) -> dict[str, float]:
    """Standard deviations, on the same samples, of what thresholds do that were chosen on resampled ones."""
    generator = torch.Generator().manual_seed(0)
    count = len(answers)
    draws = max(5, min(_DRAWS, 2_000_000 // count))  # many samples leave little to chance
    done: dict[str, list[float]] = {}
    for _ in range(draws):
        drawn = answers.rows(torch.randint(count, (count,), generator=generator))
        routes = answers.routes(choose_thresholds(drawn, target))
        for name, value in ({"lm_rate": share_routed(routes)} | answers.means(routes)).items():
            done.setdefault(name, []).append(value)
    return {name: float(torch.tensor(values, dtype=torch.double).std()) for name, values in done.items()}


def _widened(interval: Interval, by: float) -> Interval:
    """An interval of samples made one of as many new samples, with further, independent uncertainty."""
    mean, low, high = (interval[end] for end in ("mean", "low", "high"))
    low, high = mean - math.hypot(mean - low, mean - low, by), mean + math.hypot(high - mean, high - mean, by)
    return {"mean": mean, "low": low, "high": high}


def expected_of(
    answers: ValidationAnswers, thresholds: Thresholds, level: float = 0.95
) -> dict[str, Interval]:
    """What thresholds do on samples that they were not chosen on, as `expected_on_unseen` returns it."""
    found = _intervals(answers, answers.routes(thresholds), level)
    return {name: _widened(own, by=0.0) for name, own in found.items()}


def _intervals(answers: ValidationAnswers, routes: Tensor, level: float) -> dict[str, Interval]:
    return {"lm_rate": share(routes == Route.TEACHER, level)} | answers.intervals(routes, level)
