"""Whether a target was met on samples without a say in the choice."""

import math

import pytest
import torch

from kcm_lightning.calibrate.on_unseen import in_words, met_on_unseen
from kcm_lightning.calibrate.target import Target


def interval(mean, half):
    return {"mean": mean, "low": mean - half, "high": mean + half}


def test_a_missed_drop_is_told_with_the_samples_that_would_tell():
    target, expected = Target("accuracy_drop", 0.01), {"accuracy_minus_teacher": interval(-0.0267, 0.0318)}
    met = met_on_unseen(target, 150, expected)
    assert met["met"] is False and met["sure"] is False
    assert met["estimate"] == pytest.approx(0.0267) and met["missed_by"] == pytest.approx(0.0167)
    # an interval shrinks with the root of the samples: 3.18 points become 1
    assert met["samples_needed"] == pytest.approx(150 * 3.18**2, abs=1)
    said = in_words(target, 150, met)
    assert "missed by 1.67 points on samples that it had not seen: the drop is 2.67, at most 1" in said
    assert f"about {met['samples_needed']:,} labelled samples in place of 150" in said


def test_a_target_that_is_met_for_sure():
    met = met_on_unseen(Target("lm_rate", 0.6), 1_000, {"lm_rate": interval(0.55, 0.03)})
    assert met["met"] and met["sure"] and met["missed_by"] == 0
    assert in_words(Target("lm_rate", 0.6), 1_000, met).endswith("at most 60, the whole 95 % interval")


def test_a_target_that_is_met_but_not_surely():
    target = Target("cider_drop", 0.02)
    met = met_on_unseen(target, 100, {"CIDEr_minus_teacher": interval(-0.01, 0.04)})
    assert met["met"] and not met["sure"] and met["samples_needed"] == 400
    assert "met on samples that it had not seen" in in_words(target, 100, met)


def test_a_drop_of_nothing_is_known_within_a_point():
    met = met_on_unseen(Target("accuracy_drop", 0.0), 100, {"accuracy_minus_teacher": interval(0.0, 0.05)})
    assert met["met"] and met["samples_needed"] == 2_500


def test_nothing_is_said_of_answers_that_nobody_knows():
    assert met_on_unseen(Target("accuracy_drop", 0.1), 100, {"lm_rate": interval(0.5, 0.1)}) is None


def test_the_samples_needed_are_those_of_the_binomial():
    """Of independent samples with a spread of s, n samples give an interval of 1.96 s / sqrt(n)."""
    torch.manual_seed(0)
    s, n = 0.3, 400
    half = 1.96 * s / math.sqrt(n)
    met = met_on_unseen(Target("accuracy_drop", 0.01), n, {"accuracy_minus_teacher": interval(0.0, half)})
    assert met["samples_needed"] == pytest.approx((1.96 * s / 0.01) ** 2, abs=1)
