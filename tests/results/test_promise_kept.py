"""Promises against the figures of a test."""

import pytest

from kcm_lightning.results.promise_kept import in_words, promise_kept


def figures(target="accuracy_drop=0.01", limit=0.01, difference=-0.005, by=None, promised=True):
    certificate = {"promised": promised, "confidence": 0.95, "limit": limit, "by": by}
    return {
        "samples": 1_000,
        "calibrated": {"target": target, "certificate": certificate},
        "kcm_against_teacher": {
            "difference": difference,
            "low": difference - 0.01,
            "high": difference + 0.01,
        },
        "accuracy": {
            "kcm": {"head": 0.7, "tail": 0.5, "overall": 0.6},
            "teacher": {"head": 0.68, "tail": 0.53, "overall": 0.605},
        },
    }


def test_a_drop_within_the_limit_is_kept():
    found = promise_kept(figures())
    assert found["kept"] and found["value"] == 0.005 and found["low"] == pytest.approx(-0.005)
    assert in_words(found).startswith(
        "promise accuracy_drop=0.01 (95 %): kept; the drop is 0.50 (95 % interval"
    )


def test_a_larger_one_is_not():
    found = promise_kept(figures(difference=-0.015))
    assert not found["kept"] and in_words(found).endswith("; the limit is within the interval")
    assert "within" not in in_words(promise_kept(figures(difference=-0.05)))


def test_each_region_counts_where_each_was_promised():
    found = promise_kept(figures(by="region"))
    assert not found["kept"] and found["by_region"] == {
        "head": pytest.approx(-0.02),
        "tail": pytest.approx(0.03),
    }
    assert "head -2.00, tail 3.00" in in_words(found)


def test_an_accuracy_has_its_own_interval():
    found = promise_kept(figures("accuracy=0.59", 0.59))
    assert found["kept"] and found["low"] < 0.6 < found["high"]
    assert "the accuracy is 60.00" in in_words(found)


def test_scores_of_captions_are_compared_each_by_its_own():
    found = figures("cider_drop=0.02", 0.02)
    found["kcm_against_teacher"] = {"CIDEr": {"difference": -0.01, "low": -0.05, "high": 0.03}}
    assert promise_kept(found)["value"] == 0.01


def test_without_promise_or_comparison_nothing_is_said():
    assert promise_kept(figures(promised=False)) is None and promise_kept({"samples": 3}) is None
    alone = figures()
    del alone["kcm_against_teacher"]
    assert promise_kept(alone) is None
