"""The multinomial bootstrap against one that resamples samples, and against the normal approximation."""

import numpy as np
import pytest

from kcm_lightning.metrics import paired_difference


def test_equals_resampling_the_samples():
    random = np.random.default_rng(1)
    first, second = random.random(500) < 0.9, random.random(500) < 0.88
    better, worse = int((first & ~second).sum()), int((second & ~first).sum())
    difference = first.astype(float) - second
    drawn = [difference[random.integers(0, 500, 500)].mean() for _ in range(10_000)]
    found = paired_difference([(better, worse, 500)])
    assert found["difference"] == pytest.approx(difference.mean())
    assert found["low"] == pytest.approx(np.quantile(drawn, 0.025), abs=0.002)
    assert found["high"] == pytest.approx(np.quantile(drawn, 0.975), abs=0.002)


def test_mean_over_data_sets_counts_each_once():
    counts = [(30, 10, 1_000), (10, 10, 100)]
    found = paired_difference(counts)
    assert found["difference"] == pytest.approx((0.02 + 0.0) / 2)
    variance = sum(((b + w) / n - ((b - w) / n) ** 2) / n for b, w, n in counts) / 4
    assert (found["high"] - found["low"]) / 2 == pytest.approx(1.96 * variance**0.5, rel=0.05)
