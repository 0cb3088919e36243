"""Metrics against counts, with ragged batches, and the curve against brute force."""

import pytest
import torch

from kcm_lightning.metrics import (
    LMRate,
    RegionAccuracy,
    against_random,
    oracle_accuracy,
    random_accuracy,
    routing_curve,
)


def test_lm_rate_is_a_ratio_of_counts_not_a_mean_of_batch_means():
    called = torch.arange(103) % 3 == 0
    answered = called & (torch.arange(103) % 2 == 0)
    metric = LMRate()
    for part in torch.arange(103).split(50):
        metric.update(called[part], answered[part])
    values = metric.compute()
    assert values["called"].item() == pytest.approx(called.sum().item() / 103)
    assert values["answered"].item() == pytest.approx(answered.sum().item() / 103)


def test_region_accuracy_with_ragged_batches():
    torch.manual_seed(0)
    regions = torch.tensor([0, 0, 1, 2])
    prediction, target = torch.randint(0, 4, (77,)), torch.randint(0, 4, (77,))
    metric = RegionAccuracy(regions)
    for part in torch.arange(77).split(32):
        metric.update(prediction[part], target[part])
    values = metric.compute()
    for i, name in enumerate(("head", "med", "tail")):
        rows = [j for j in range(77) if regions[target[j]] == i]
        assert values[name].item() == pytest.approx(
            sum(prediction[j] == target[j] for j in rows).item() / len(rows)
        )
    assert values["overall"].item() == pytest.approx((prediction == target).float().mean().item())


def test_curve_is_what_each_threshold_gives():
    torch.manual_seed(0)
    confidence, small, large = torch.rand(40), torch.rand(40) < 0.5, torch.rand(40) < 0.8
    rates, accuracies = routing_curve(confidence, small, large)
    for rate, accuracy in zip(rates.tolist(), accuracies.tolist(), strict=True):
        routed = confidence.argsort()[: round(rate * 40)].tolist()
        right = [large[i] if i in routed else small[i] for i in range(40)]
        assert accuracy == pytest.approx(sum(right).item() / 40)
    assert random_accuracy(0.25, small, large) == pytest.approx(
        0.75 * small.float().mean().item() + 0.25 * large.float().mean().item()
    )


def test_oracle_is_the_best_of_all_routers():
    from itertools import combinations

    torch.manual_seed(1)
    small, large = torch.rand(9) < 0.4, torch.rand(9) < 0.6
    for calls in range(10):
        best = max(
            sum((large if i in routed else small)[i].item() for i in range(9))
            for size in range(calls + 1)
            for routed in combinations(range(9), size)
        )
        assert oracle_accuracy(calls / 9, small, large) == pytest.approx(best / 9)


def test_difference_to_chance_is_the_bootstrap_s():
    torch.manual_seed(1)
    small, large, confidence = torch.rand(800) < 0.6, torch.rand(800) < 0.8, torch.rand(800)
    called = (confidence < 0.5) | ~small & (torch.rand(800) < 0.5)
    right = torch.where(called, large, small)
    found = against_random(right, called, small, large)
    wanted = right.double().mean() - random_accuracy(called.double().mean().item(), small, large)
    assert found["difference"] == pytest.approx(wanted.item(), abs=1e-12)
    drawn = []
    for _ in range(4_000):
        rows = torch.randint(800, (800,))
        rate = called[rows].double().mean().item()
        drawn.append(right[rows].double().mean().item() - random_accuracy(rate, small[rows], large[rows]))
    low, high = torch.tensor(drawn).quantile(torch.tensor([0.025, 0.975])).tolist()
    assert found["low"] == pytest.approx(low, abs=0.003) and found["high"] == pytest.approx(high, abs=0.003)
