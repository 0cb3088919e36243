"""The alarm against a plain loop, and how often it is false or late."""

import numpy as np
import pytest
from scipy.stats import binom

from kcm_lightning.metrics.alarm import Alarm


def by_hand(values, limit, low):
    """Every gambler for himself."""
    stakes = [share / (limit - low) for share in (0.05, 0.1, 0.2, 0.4, 0.8)]
    evidence = []
    for end in range(1, len(values) + 1):
        total, blocks = 0.0, -(-end // 100)
        for block in range(1, blocks + 1):
            for stake in stakes:
                factors = [1 + stake * (value - limit) for value in values[(block - 1) * 100 : end]]
                total += np.prod(factors) / (block * (block + 1)) / len(stakes)
        evidence.append(total + 1 / (blocks + 1))
    return evidence


def test_it_is_the_loop_over_gamblers_however_it_is_fed():
    rng = np.random.default_rng(0)
    values = rng.choice([-1.0, 0.0, 1.0], 350, p=[0.02, 0.9, 0.08])
    whole, parts = Alarm(0.01), Alarm(0.01)
    whole.update(values)
    for part in np.split(values, [1, 99, 100, 101, 250]):
        parts.update(part)
    wanted = by_hand(values.tolist(), 0.01, -1.0)
    assert whole.evidence == pytest.approx(wanted[-1]) == pytest.approx(parts.evidence)
    above = [place + 1 for place, own in enumerate(wanted) if own >= 20]
    assert whole.raised_at == parts.raised_at == (above[0] if above else None)


@pytest.mark.parametrize("change", [0, 2_000, 5_000])
def test_a_drop_from_half_a_point_to_three_is_seen(change):
    rng, late = np.random.default_rng(change), 0
    for _ in range(200):
        alarm = Alarm(limit=0.01)
        rates = np.where(np.arange(change + 2_000) < change, 0.005, 0.03)
        alarm.update((rng.random(len(rates)) < rates).astype(float))
        late += alarm.raised_at is None
    assert late <= 0.05 * 200


@pytest.mark.parametrize("gains", [0.0, 0.03])
def test_it_is_seldom_false_in_the_whole_stream(gains):
    """The drop is at the limit all the time: the worst case of what is promised."""
    rng, false = np.random.default_rng(1), 0
    for _ in range(200):
        uniform = rng.random(10_000)
        alarm = Alarm(limit=0.01)
        alarm.update((uniform < 0.01 + gains) - (uniform > 1 - gains).astype(float))
        false += alarm.raised_at is not None
    assert false <= binom.ppf(0.999, 200, 0.05)


def test_a_value_out_of_range_is_refused():
    with pytest.raises(ValueError, match="outside"):
        Alarm(0.1, low=0.0).update([-1.0])


def test_nothing_is_nothing():
    alarm = Alarm(0.1)
    alarm.update([])
    assert alarm.seen == 0 and alarm.evidence == 1.0
