"""A budget of calls lasts, is used, and is spent on the samples with the lowest scores."""

import pytest
import torch
from torch import nn

from kcm_lightning.core.collaboration import Gates, Roles, class_predictor, collaborate
from kcm_lightning.core.pacing import Pace
from kcm_lightning.core.routing import Thresholds
from tests.core.test_collaboration import Drawn


def run(pace, scores, calibrated, batch=50):
    called = []
    for part in scores.split(batch):
        threshold = pace.threshold_for(part, calibrated)
        called.append(part < threshold)
        pace.spend(len(part), int(called[-1].sum()))
    return torch.cat(called)


@pytest.mark.parametrize("calls", [0, 1, 300, 1_000])
def test_it_lasts_and_is_used(calls):
    scores = torch.rand(5_000, generator=torch.Generator().manual_seed(0))
    called = run(Pace(calls, samples=5_000), scores, calibrated=0.9)
    assert 0.95 * calls - 1 <= called.sum() <= calls
    halves = called[:2_500].sum(), called[2_500:].sum()
    assert abs(halves[0] - halves[1]) <= max(2, 0.2 * calls)
    if calls >= 300:  # a threshold, not a lottery
        assert scores[called].quantile(0.9) < 1.3 * calls / 5_000 + 0.02


def test_more_than_enough_changes_nothing():
    scores = torch.rand(2_000, generator=torch.Generator().manual_seed(0))
    called = run(Pace(2_000, samples=2_000), scores, calibrated=0.4)
    assert torch.equal(called, scores < 0.4)
    assert run(Pace(2_000, samples=2_000), scores, calibrated=None).all()


def test_it_follows_when_samples_become_harder():
    scores = torch.cat([torch.rand(2_000) * 0.5 + 0.5, torch.rand(2_000) * 0.5])
    called = run(Pace(400, samples=4_000), scores, calibrated=1.0)
    assert 380 <= called.sum() <= 400 and called[2_000:].sum() >= 180


def test_equal_scores_never_exceed_the_budget():
    called = run(Pace(30, samples=1_000), torch.full((1_000,), 0.5), calibrated=1.0)
    assert called.sum() <= 30


def test_a_day_has_its_own_budget():
    now = [0.0]
    pace = Pace(100, per_day=True, clock=lambda: now[0])
    by_day = []
    for _ in range(3):
        before = pace.called
        for _ in range(240):  # ten samples each six minutes
            now[0] += 360.0
            scores = torch.rand(10)
            called = scores < pace.threshold_for(scores, 1.0)
            pace.spend(10, int(called.sum()))
        by_day.append(pace.called - before)
    assert all(70 <= own <= 101 for own in by_day)


def test_a_stream_needs_a_clock():
    for options in ({}, {"samples": 5, "per_day": True}):
        with pytest.raises(ValueError, match="needs a clock"):
            Pace(3, **options)


def test_a_collaboration_keeps_to_it():
    torch.manual_seed(0)
    logits = torch.randn(1_000, 3) * 3
    roles = Roles(
        class_predictor(nn.Identity()),
        class_predictor(nn.Identity()),
        Drawn(torch.rand(1_000, 3).softmax(-1)),
    )
    pace, called = Pace(100, samples=1_000), []
    for rows in torch.arange(1_000).split(100):
        batch = {"small": logits[rows], "large": rows, "index": rows}
        gates = Gates(Thresholds(0.99, 0.95), pace=pace)
        called.append(collaborate(batch, roles=roles, gates=gates).called)
    called = torch.cat(called)
    assert pace.called == called.sum() <= 100 and called.sum() >= 90
    confidence = logits.softmax(-1).amax(-1)
    assert not called[confidence >= 0.95].any()
    assert confidence[called].mean() < confidence[~called].mean()
