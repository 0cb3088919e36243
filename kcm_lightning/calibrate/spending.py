"""What thresholds cost: limits to money, time or arithmetic, and a table of what each LM rate brings."""

from collections.abc import Mapping
from typing import Any

import torch

from kcm_lightning.calibrate.answers import Interval, ValidationAnswers
from kcm_lightning.calibrate.target import Prices, Target
from kcm_lightning.calibrate.thresholds import choose_thresholds, expected_of
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.utils.errors import InputError

_RATES = torch.linspace(0, 1, 11).tolist()


def prices_of(goal: Target, costs: Mapping[str, Any], usage: Mapping[str, Any]) -> Prices:
    """What each model costs, in the unit of a target.

    Args:
        goal: a target of what is spent.
        costs: as `measured_costs` returns them.
        usage: as `usage_of` returns it.

    Raises:
        InputError: it is not known of the large model.
    """
    if goal.kind == "cost":
        if (price := usage.get("money_per_1000_questions")) is None:
            raise InputError(
                f"--target {goal}: the large model tells no prices; give a chat model its prices, "
                "or --target lm_rate=X"
            )
        return Prices(judge=0.0, student=0.0, large=price)
    if "large model" not in costs:
        raise InputError(
            f"--target {goal}: what the large model takes cannot be measured here, its answers come from "
            "elsewhere; give --target lm_rate=X"
        )
    unit = "flops" if goal.kind == "flops" else "milliseconds"  # of one sample: seconds of a thousand
    return Prices(*(costs[who][unit] for who in ("judge", "student", "large model")))


def check_spent(goal: Target, answers: ValidationAnswers, thresholds: Mapping[str, float | None]) -> None:
    """Refuses a limit that the small models alone exceed.

    Raises:
        InputError: they do; the message says by how much.
    """
    assert goal.prices is not None
    spent = answers.cost(Thresholds(thresholds["judge"], thresholds["student"]), goal.prices)
    if spent > goal.value:
        raise InputError(
            f"--target {goal}: the small models alone take {spent:.4g}; nothing is left for the large one"
        )


def tradeoff(answers: ValidationAnswers, measure: str, prices: Prices | None) -> list[dict[str, Any]]:
    """What LM rates from 0 to 1 in tenths bring and cost.

    Args:
        answers: answers to samples that gate and fusion have not seen.
        measure: the quality, a `Target.measure`.
        prices: what each model costs; None where that is not known.

    Returns:
        By LM rate `lm_rate`, `thresholds`, `difference` (of the quality to the large model's, with its 95 %
        interval), for classes `accuracy`, and `cost` where prices are known.
    """
    rows = []
    for rate in _RATES:
        chosen = Thresholds(None, None) if rate == 1 else choose_thresholds(answers, Target("lm_rate", rate))
        expected = expected_of(answers, chosen)
        row: dict[str, Any] = {
            "lm_rate": expected["lm_rate"]["mean"],
            "thresholds": {"judge": chosen.judge, "student": chosen.student},
            "difference": expected[f"{measure}_minus_teacher"],
        }
        if "accuracy" in expected:
            row["accuracy"] = expected["accuracy"]
        if prices is not None:
            row["cost"] = answers.cost(chosen, prices)
        rows.append(row)
    return rows


def table_rows(rows: list[dict[str, Any]], measure: str, unit: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table, in per cent.

    Args:
        rows: as `tradeoff` returns them.
        measure: the quality.
        unit: of the cost.
    """
    head = ["LM rate", *(["accuracy"] if "accuracy" in rows[0] else []), f"{measure} - large model"]
    head += ["threshold judge", "student", *([unit] if "cost" in rows[0] else [])]
    found = []
    for row in rows:
        cells = [f"{100 * row['lm_rate']:.1f}"]
        cells += [_in_percent(row[name]) for name in ("accuracy", "difference") if name in row]
        cells += ["none" if own is None else f"{own:.4f}" for own in row["thresholds"].values()]
        found.append([*cells, *([f"{row['cost']:.4g}"] if "cost" in row else [])])
    return head, found


def _in_percent(interval: Interval) -> str:
    mean, low, high = (100 * interval[end] for end in ("mean", "low", "high"))
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"
