"""Tests of a mean loss against enumeration, independent formulas and simulation."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import binom, binomtest, norm

from kcm_lightning.calibrate.bounds import (
    betting_p_value,
    binomial_p_value,
    exact_p_value,
    p_value,
    score_p_value,
)


def constrained(worse: int, better: int, samples: int, limit: float) -> float:
    """Tango's score by a general optimizer: the trinomial likelihood under the limit is maximized."""

    def loss(values):
        gain = values[0]
        same = 1 - 2 * gain - limit
        if same <= 0:
            return 1e9
        return -(
            worse * math.log(gain + limit)
            + better * math.log(gain)
            + (samples - worse - better) * math.log(same)
        )

    gain = minimize(loss, [0.02], bounds=[(1e-9, (1 - limit) / 2 - 1e-9)], method="L-BFGS-B", tol=1e-14).x[0]
    variance = (2 * gain + limit - limit**2) / samples
    return (worse - better - samples * limit) / samples / variance**0.5


@pytest.mark.parametrize("counts", [(10, 4, 500, 0.01), (3, 9, 200, 0.05), (40, 40, 300, 0.02)])
def test_the_score_is_that_of_the_constrained_likelihood(counts):
    assert score_p_value(*counts) == pytest.approx(norm.cdf(constrained(*counts)), abs=1e-4)


def test_the_exact_test_is_the_worst_case_of_all_outcomes():
    """Twelve samples: every pair of counts is enumerated, and the share that differs is maximized finely."""
    samples, limit = 12, 0.3
    pairs = [(w, b) for w, b in itertools.product(range(samples + 1), repeat=2) if w + b <= samples]
    scores = {pair: score_p_value(*pair, samples, limit) for pair in pairs}

    def chance(pair, gain):
        worse, better = pair
        ways = math.comb(samples, worse) * math.comb(samples - worse, better)
        rest = samples - worse - better
        return ways * (gain + limit) ** worse * gain**better * max(0.0, 1 - 2 * gain - limit) ** rest

    for seen in [(0, 0), (1, 0), (1, 3), (2, 1), (0, 6), (4, 1)]:
        as_low = [pair for pair in pairs if scores[pair] <= scores[seen] + 1e-12]
        differ = binomtest(sum(seen), samples).proportion_ci(1 - 1e-4)
        gains = np.linspace(max(0, (differ.low - limit) / 2), (min(1, differ.high) - limit) / 2, 400)
        worst = max(sum(chance(pair, gain) for pair in as_low) for gain in gains)
        assert worst <= exact_p_value(*seen, samples, limit) <= worst * 1.001 + 2e-4


def test_the_binomial_is_a_sum():
    by_hand = sum(math.comb(20, k) * 0.1**k * 0.9 ** (20 - k) for k in range(3))
    assert binomial_p_value(2, 20, 0.1) == pytest.approx(by_hand)
    assert binomial_p_value(0, 20, 1.0) == 1.0 and binomial_p_value(5, 20, 0.0) == 1.0


def test_the_bets_are_made_before_the_sample_is_seen():
    """The capital by a plain loop; what comes later changes nothing of what was owned before."""
    losses = torch.randint(-1, 2, (200,), generator=torch.Generator().manual_seed(0)).double() * 0.5
    limit, capital, best, seen = 0.2, 1.0, 1.0, []
    mean = (limit + 1) / 2
    for loss in losses.tolist():
        value = (loss + 1) / 2
        average, spread = 0.5, 0.25
        total, count = 0.5, 1
        squares = 0.25
        for place, earlier in enumerate(seen, 2):
            total, count = total + earlier, place
            average = total / count
            squares += (earlier - average) ** 2
            spread = squares / count
        gap = mean - average
        stake = min(max(gap / (spread + gap**2), 0.0), 0.75 / (1 - mean))
        capital *= 1 + stake * (mean - value)
        best = max(best, capital)
        seen.append(value)
    assert betting_p_value(losses, limit) == pytest.approx(1 / best, rel=1e-9)


@pytest.mark.parametrize("samples", [20, 300])
@pytest.mark.parametrize("bound", ["exact", "harms", "betting"])
@pytest.mark.parametrize("gain", [0.0, 0.02, 0.2])
def test_a_false_claim_passes_no_more_often_than_it_may(samples, bound, gain):
    """The drop is exactly what is not to be reached: at most 5 % of the draws pass, but for sampling."""
    limit, draws = 0.03, 400
    generator = torch.Generator().manual_seed(samples)
    uniform = torch.rand(draws, samples, generator=generator)
    losses = (uniform < gain + limit).double() - (uniform > 1 - gain).double()
    passed = sum(p_value(row, limit, bound) <= 0.05 for row in losses)
    assert passed <= binom.ppf(0.999, draws, 0.05)


def test_the_exact_test_is_as_powerful_as_the_approximate_one():
    generator = torch.Generator().manual_seed(0)
    uniform = torch.rand(200, 2000, generator=generator)
    losses = (uniform < 0.03).double() - (uniform > 0.97).double()
    passed = {
        bound: sum(p_value(row, 0.01, bound) <= 0.05 for row in losses)
        for bound in ("exact", "score", "betting")
    }
    assert passed["exact"] >= passed["score"] - 4 and passed["exact"] > 1.5 * passed["betting"]


def test_limits_at_the_ends():
    some = torch.tensor([0.0, 0.0, 1.0, -1.0])
    for bound in ("exact", "harms", "betting", "score"):
        assert p_value(some, 0.0, bound) > 0.05
        assert 0 <= p_value(some, 1.0, bound) <= 1
    assert betting_p_value(torch.full((50,), -1.0), -1.0) == 1.0
