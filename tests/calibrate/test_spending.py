"""Limits to what is spent against sums by hand."""

import re

import pytest
import torch

from kcm_lightning.calibrate.spending import check_spent, prices_of, table_rows, tradeoff
from kcm_lightning.calibrate.target import Prices, Target
from kcm_lightning.calibrate.thresholds import choose_thresholds
from kcm_lightning.core.routing import Route, Thresholds
from kcm_lightning.utils.errors import InputError
from tests.calibrate.test_thresholds import synthetic

PRICES = Prices(judge=1.0, student=2.0, large=10.0)


def by_hand(answers, thresholds):
    total = 0.0
    for judge, score in zip(answers.judge_confidence.tolist(), answers.gate_score.tolist(), strict=True):
        total += 1.0
        if thresholds.judge is not None and judge >= torch.tensor(thresholds.judge):
            continue
        total += 2.0
        if score < torch.tensor(thresholds.student):
            total += 10.0
    return total / len(answers)


@pytest.mark.parametrize("limit", [4.0, 7.5, 11.0])
def test_a_limit_is_kept_and_nearly_used_up(limit):
    answers = synthetic(1_000)
    chosen = choose_thresholds(answers, Target("cost", limit, PRICES))
    spent = by_hand(answers, chosen)
    assert limit - 0.1 < spent <= limit and answers.cost(chosen, PRICES) == pytest.approx(spent)


def test_what_the_small_models_exceed_is_refused():
    answers, target = synthetic(100), Target("seconds", 0.5, PRICES)
    chosen = choose_thresholds(answers, target)
    assert not (answers.routes(chosen) == Route.TEACHER).any()
    with pytest.raises(InputError, match="small models alone take"):
        check_spent(target, answers, {"judge": chosen.judge, "student": chosen.student})


def test_prices_come_from_the_bill_or_the_clock():
    assert prices_of(Target("cost", 1.0), {}, {"money_per_1000_questions": 3.0}) == Prices(0.0, 0.0, 3.0)
    costs = {who: {"milliseconds": float(n), "flops": 7.0 * n} for n, who in enumerate(("judge", "student"))}
    costs["large model"] = {"milliseconds": 5.0, "flops": 50.0}
    assert prices_of(Target("seconds", 1.0), costs, {}) == Prices(0.0, 1.0, 5.0)
    assert prices_of(Target("flops", 1.0), costs, {}) == Prices(0.0, 7.0, 50.0)
    with pytest.raises(InputError, match="tells no prices"):
        prices_of(Target("cost", 1.0), costs, {})
    del costs["large model"]
    with pytest.raises(InputError, match="cannot be measured here"):
        prices_of(Target("flops", 1.0), costs, {})


def test_the_table_has_each_tenth():
    answers = synthetic(2_000)
    rows = tradeoff(answers, "accuracy", PRICES)
    rates = [row["lm_rate"] for row in rows]
    assert all(row == pytest.approx(tenth / 10, abs=0.005) for tenth, row in enumerate(rates))
    for row in rows:
        chosen = Thresholds(**row["thresholds"])
        assert row["accuracy"]["mean"] == answers.quality(answers.routes(chosen), "accuracy")
    assert rows[-1]["cost"] == pytest.approx(1 + 2 + 10)
    head, cells = table_rows(rows, "accuracy", "seconds for 1,000")
    assert len(cells) == 11 and all(len(line) == len(head) for line in cells)
    assert re.fullmatch(r"\d\d\.\d\d \(\d\d\.\d\d to \d\d\.\d\d\)", cells[3][1]) and cells[-1][3] == "none"


@pytest.mark.parametrize("text", ["cost=-1", "seconds=x", "flops=nan", "cost=inf"])
def test_bad_limits_are_refused(text):
    with pytest.raises(InputError, match="cost=X, seconds=X, flops=X with X from 0"):
        Target.parse(text)
    assert Target.parse("flops=2e9").value == 2e9
