"""A promise of quality: thresholds that are tested, from strict to loose, as long as they pass.

Each test is at the level of the whole promise: the order is fixed before any answer is looked at, and the
first failure ends it, so that a false promise is no more probable than one false test is (fixed-sequence
testing, Maurer et al. 1995; for risks: Angelopoulos et al. 2021).
"""

import math
from dataclasses import dataclass

import torch
from scipy.stats import norm
from torch import Tensor

from kcm_lightning.calibrate.answers import ValidationAnswers, share_routed
from kcm_lightning.calibrate.bounds import Bound, p_value
from kcm_lightning.calibrate.target import Target
from kcm_lightning.core.routing import Thresholds

_CANDIDATES = 50


@dataclass
class Certificate:
    """What is promised of thresholds, and on what grounds.

    Args:
        thresholds: the loosest ones that passed; None where none did, so that nothing is promised.
        bound: the test.
        confidence: probability that a promise holds, at least, a fraction.
        samples: number of labelled samples that they were tested on.
        loss: mean loss on them (of a target of accuracy the error rate, else the drop); None without promise.
        lm_rate: LM rate on them; None without promise.
        p_value: of the last test that passed; None without promise.
        samples_needed: about how many labelled samples would do for a promise; None where there is one, or
            where no number would do.
    """

    thresholds: Thresholds | None
    bound: Bound
    confidence: float
    samples: int
    loss: float | None = None
    lm_rate: float | None = None
    p_value: float | None = None
    samples_needed: int | None = None


def candidates(answers: ValidationAnswers, judge: float | None, count: int = _CANDIDATES) -> list[Thresholds]:
    """Thresholds to test, from strict to loose, at evenly spread quantiles of the gate's scores.

    Args:
        answers: to samples that the thresholds are *not* to be tested on.
        judge: the judge's threshold, see `judge_threshold`.
        count: how many.
    """
    places = torch.linspace(1, 0, count + 1, dtype=torch.double)[1:]
    scores = torch.unique(answers.gate_score.double().quantile(places)).flip(0).tolist()
    return [Thresholds(None if judge is None else max(judge, own), own) for own in scores]


def certify(
    answers: ValidationAnswers,
    target: Target,
    thresholds: list[Thresholds],
    *,
    confidence: float = 0.95,
    bound: Bound = "exact",
    regions: Tensor | None = None,
) -> Certificate:
    """The loosest thresholds of which a target can be promised.

    Args:
        answers: to samples that neither models nor gate nor fusion nor `thresholds` have seen, of the kind
            that is to come; in an order that says nothing.
        target: of quality.
        thresholds: to test, from strict to loose.
        confidence: probability that the promise holds, at least.
        bound: the test, see `p_value`.
        regions: region of each sample, for a promise that holds in each, shape `(N,)`; None for one overall.
    """
    every = torch.ones(len(answers), dtype=torch.bool)
    parts = [every] if regions is None else [regions == region for region in regions.unique()]
    limit, passed = target.limit, Certificate(None, bound, confidence, len(answers))
    for chosen in thresholds:
        routes = answers.routes(chosen)
        losses = answers.losses(routes, target)
        # a promise of all regions is false where one is: the largest p-value tests it, without a correction
        found = max(p_value(losses[part], limit, bound) for part in parts)
        if found > 1 - confidence:
            break
        passed.thresholds, passed.p_value, passed.loss = chosen, found, losses.mean().item()
        passed.lm_rate = share_routed(routes)
    if passed.thresholds is None:
        passed.samples_needed = _needed(answers, target, thresholds, parts, 1 - confidence)
    return passed


def _needed(
    answers: ValidationAnswers, target: Target, thresholds: list[Thresholds], parts: list[Tensor], risk: float
) -> int | None:
    """Samples with which the most promising thresholds would about pass, were all else as it is."""
    found = []
    for chosen in thresholds:
        losses = answers.losses(answers.routes(chosen), target)
        of_parts = [
            _needed_for(losses[part], target.limit, risk) * len(losses) / len(losses[part]) for part in parts
        ]
        found.append(max(of_parts))
    best = min(found)
    return math.ceil(best) if math.isfinite(best) else None


def _needed_for(losses: Tensor, limit: float, risk: float) -> float:
    gap = limit - losses.mean().item()
    if gap <= 0 or not 0 < limit < 1:
        return math.inf
    variance = max(losses.var(correction=0).item(), limit * (1 - limit))
    fewest = math.log(risk) / math.log(1 - limit)  # not one loss among them
    return max(fewest, norm.ppf(1 - risk) ** 2 * variance / gap**2)
