"""Tests of the claim that a mean loss is within a limit, each as a p-value at the size of the sample."""

from typing import Literal

import numpy as np
import torch
from scipy.stats import binom, binomtest, norm
from torch import Tensor

Bound = Literal["exact", "harms", "betting", "score"]
_OUTSIDE = 1e-4  # probability that the share of samples that differ is outside of where it is looked for
_NEGLECTED = 1e-9  # tails of its distribution
_GRID = 65
_MOST_OF_THE_CAPITAL = 0.75  # that one sample can lose
_PRIOR_VARIANCE = 0.25


def p_value(losses: Tensor, limit: float, bound: Bound) -> float:
    """Probability, at most, of losses as low as these if their true mean were not below the limit.

    Args:
        losses: independent and equally distributed, in an order that says nothing, shape `(N,)`; -1, 0 or 1,
            or with "betting" any numbers in [-1, 1].
        limit: mean that is to be shown not to be reached.
        bound: "exact", of losses of -1, 0 and 1: see `exact_p_value`; "harms", which counts losses of 1 and
            no gains: see `binomial_p_value`; "betting": see `betting_p_value`; "score", approximate: see
            `score_p_value`. All but the last hold for any distribution.
    """
    if bound == "betting":
        return betting_p_value(losses, limit)
    worse, better = int((losses > 0).sum()), int((losses < 0).sum())
    if bound == "harms":
        return binomial_p_value(worse, len(losses), limit)
    of_pairs = exact_p_value if bound == "exact" else score_p_value
    return of_pairs(worse, better, len(losses), limit)


def binomial_p_value(events: int, samples: int, limit: float) -> float:
    """Probability of so few events if their true share were above the limit, at most.

    It holds for any distribution (Clopper and Pearson 1934).

    Args:
        events: number of samples with the event.
        samples: number of samples.
        limit: share that is to be shown to be kept, a fraction.

    >>> round(binomial_p_value(0, 299, limit=0.01), 4)  # fewer than 299 cannot show 1 % at 95 %
    0.0495
    """
    return 1.0 if limit >= 1 and events < samples else float(binom.cdf(events, samples, min(limit, 1.0)))


def betting_p_value(losses: Tensor, limit: float, low: float = -1.0, high: float = 1.0) -> float:
    """One over the most that a gambler has owned who bets that the mean loss is below the limit.

    He bets on each sample before it is seen, as much as the earlier ones make good (Waudby-Smith and Ramdas
    2024, "approximate GRAPA"). If the mean is not below the limit, his capital is a supermartingale, so that
    by Ville's inequality it is ever above `1 / p` with a probability of at most `p`: for any distribution,
    and at whichever sample one stops.

    Args:
        losses: in the order in which they are bet on, independent and equally distributed, shape `(N,)`.
        limit: mean that is to be shown not to be reached.
        low: least possible loss.
        high: largest possible loss.

    Returns:
        At most 1.

    >>> [round(betting_p_value(torch.zeros(count), limit=0.05), 2) for count in (20, 500)]
    [0.62, 0.0]
    """
    width = high - low
    values, mean = (losses.double() - low) / width, (limit - low) / width
    if not 0 < mean < 1:
        return float(mean <= 0)  # a mean cannot be below the least, and is never above the largest
    stakes = _stakes(values, mean)
    capital = torch.log1p(stakes * (mean - values)).cumsum(0)
    return float(torch.exp(-capital.max().clamp_min(0)))


def _stakes(values: Tensor, mean: float) -> Tensor:
    """What is bet on each sample, from those before it alone, shape `(N,)`."""
    seen = torch.arange(1, len(values) + 1, dtype=torch.double)
    average = (0.5 + values.cumsum(0)) / (seen + 1)
    variance = (_PRIOR_VARIANCE + ((values - average) ** 2).cumsum(0)) / (seen + 1)
    start = values.new_tensor([0.5]), values.new_tensor([_PRIOR_VARIANCE])
    average, variance = (
        torch.cat([first, own[:-1]]) for first, own in zip(start, (average, variance), strict=True)
    )
    gap = mean - average
    return (gap / (variance + gap**2)).clamp(0, _MOST_OF_THE_CAPITAL / (1 - mean))


def score_p_value(worse: int, better: int, samples: int, limit: float) -> float:
    """Tango's score test (1998) of a difference between paired shares; approximate, for large samples.

    Args:
        worse: samples that only the one that is compared with has right.
        better: samples that only the other one has right.
        samples: number of samples.
        limit: difference `(worse - better) / samples` that is to be shown not to be reached, a fraction.

    >>> round(score_p_value(10, 10, 1000, limit=0.0), 2)
    0.5
    """
    return float(norm.cdf(_score(np.array(worse), np.array(better), samples, limit)))


def exact_p_value(worse: int, better: int, samples: int, limit: float) -> float:
    """Exact probability, at most, of a score (Tango's) as low as this one if the difference were the limit.

    A sample is worse, better or neither, so that the two counts are trinomial whatever the data are. What is
    not known, how many samples differ at all, is maximized over its confidence interval (Berger and Boos
    1994).

    Args:
        worse: see `score_p_value`.
        better: see `score_p_value`.
        samples: see `score_p_value`.
        limit: see `score_p_value`.

    >>> round(exact_p_value(0, 0, 298, limit=0.01), 2), round(exact_p_value(5, 30, 1000, limit=0.01), 4)
    (0.05, 0.0001)
    """
    if limit >= 1:
        return 1.0
    observed = _score(np.array(worse), np.array(better), samples, limit)
    interval = binomtest(worse + better, samples).proportion_ci(1 - _OUTSIDE)
    differ = np.linspace(max(interval.low, limit), max(interval.high, limit), _GRID)[:, None]
    counts = np.arange(
        binom.ppf(_NEGLECTED, samples, differ.min()), binom.ppf(1 - _NEGLECTED, samples, differ.max()) + 1
    )
    most = _most_worse(counts, observed, samples, limit)
    share_worse = np.divide(differ + limit, 2 * differ, out=np.ones_like(differ), where=differ > 0)
    at_most = np.where(most >= 0, binom.cdf(most, counts, share_worse), 0.0)
    as_low = (binom.pmf(counts, samples, differ) * at_most).sum(1).max()
    return float(min(1.0, as_low + _OUTSIDE + 2 * _NEGLECTED))


def _score(worse: np.ndarray, better: np.ndarray, samples: int, limit: float) -> np.ndarray:
    """Tango's score: how many standard errors the difference is above the limit."""
    b = (2 * samples - worse + better) * limit - worse - better
    root = np.sqrt(b * b + 8 * samples * better * limit * (1 - limit))
    only_better = (root - b) / (4 * samples)  # most probable where the difference is the limit
    error = np.sqrt(samples * (2 * only_better + limit * (1 - limit)))
    distance = worse - better - samples * limit
    return np.divide(distance, error, out=np.zeros_like(error), where=error > 0)


def _most_worse(differ: np.ndarray, score: np.ndarray, samples: int, limit: float) -> np.ndarray:
    """How many of the samples that differ may be worse for a score as low as this; -1 where none may."""
    low, high = np.full_like(differ, -1), differ.copy()
    while (open_ := low < high).any():
        middle = np.ceil((low + high) / 2)
        fits = _score(middle, differ - middle, samples, limit) <= score + 1e-9
        low, high = np.where(open_ & fits, middle, low), np.where(open_ & ~fits, middle - 1, high)
    return low
