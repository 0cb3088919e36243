"""Figures, tables and drawings of a test with classes."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from kcm_lightning.core.confidence import probabilities
from kcm_lightning.core.predictions import NO_ANSWER
from kcm_lightning.core.routing import Route
from kcm_lightning.metrics import (
    against_random,
    oracle_accuracy,
    paired_difference,
    random_accuracy,
    routing_curve,
)
from kcm_lightning.results.columns import Columns
from kcm_lightning.results.curve import Curve, verdict, write_curves
from kcm_lightning.results.published import kcm_on
from kcm_lightning.utils.tables import percent

SMALL = ("judge", "student")
# prefix of the columns of what each model says alone
ALONE = {"judge": "judge", "student": "student", "teacher": "teacher_without_hint"}


def summarize(columns: Columns, regions: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    """All figures of a test.

    Args:
        columns: as `gather` returns them.
        regions: region of each class, shape `(V,)`.
        names: names of the regions.

    Returns:
        `samples`, `lm_rate` (fractions: called, answered), `routes` (counts), `unanswered` (how many samples
        of a column the large model was asked about and gave no answer to: wrong in its own column, the
        student's answer in KCM's) and `accuracy` by column and region (fractions). Where every model was
        asked about every sample: columns of each model alone, of a random and of an oracle router between
        student and large model at the same LM rate, the share (KCM - random) / (oracle - random), KCM's
        difference to the random router with its interval, on how many samples KCM is right and the large
        model alone wrong and the other way round, with a paired bootstrap interval of the difference in
        accuracy, and each small model's expected calibration error, with its temperature and without (where
        its logits are known).
    """
    target, called = columns["target"], columns["called"]
    in_region = {name: regions[target] == i for i, name in enumerate(names)}
    in_region["overall"] = torch.ones_like(called)

    def by_region(right: Tensor) -> dict[str, float | None]:
        return {name: _mean(right[rows]) for name, rows in in_region.items()}

    result: dict[str, Any] = {
        "samples": len(target),
        "lm_rate": {"called": _mean(called), "answered": _mean(columns["route"] == Route.TEACHER)},
        "routes": {r.name.lower(): int((columns["route"] == r).sum()) for r in Route},
        "unanswered": {"kcm": int((called & (columns["teacher_prediction"] == NO_ANSWER)).sum())},
        "accuracy": {"kcm": by_region(columns["prediction"] == target)},
    }
    right = {who: columns[f"{prefix}_prediction"] == target for who, prefix in ALONE.items()}
    result["accuracy"]["judge"] = by_region(right["judge"])
    if all((columns[f"{prefix}_prediction"] != -1).all() for prefix in ALONE.values()):
        _compare(result, columns, right, in_region)
    return result


def _compare(
    result: dict[str, Any], columns: Columns, right: dict[str, Tensor], in_region: dict[str, Tensor]
) -> None:
    """Adds what can be said where every model was asked about every sample."""
    target = columns["target"]
    without = columns["teacher_without_hint_prediction"] == NO_ANSWER
    result["unanswered"]["teacher"] = int(without.sum())
    rate, routed = result["lm_rate"]["called"], routed_right(columns)
    shown = {who: right[who] for who in ("student", "teacher")}
    if "fused_prediction" in columns:
        alone = torch.where(
            columns["route"] == Route.TEACHER, columns["teacher_prediction"], columns["prediction"]
        )
        shown |= {"both": routed, "unfused": alone == target}
    for who, own in shown.items():
        result["accuracy"][who] = {name: _mean(own[rows]) for name, rows in in_region.items()}
    for router, accuracy in (("random", random_accuracy), ("oracle", oracle_accuracy)):
        result["accuracy"][router] = {
            name: accuracy(rate, right["student"][rows], routed[rows]) if rows.any() else None
            for name, rows in in_region.items()
        }
    overall = {name: values["overall"] for name, values in result["accuracy"].items()}
    if overall["oracle"] > overall["random"]:
        share = (overall["kcm"] - overall["random"]) / (overall["oracle"] - overall["random"])
        result["share_of_oracle_gain"] = share
    result["kcm_against_random"] = against_random(
        columns["prediction"] == target, columns["called"], right["student"], routed
    )
    better = int((columns["prediction"] == target)[~right["teacher"]].sum())
    worse = int((columns["prediction"] != target)[right["teacher"]].sum())
    difference = paired_difference([(better, worse, len(target))])
    result["kcm_against_teacher"] = {"better": better, "worse": worse} | difference
    confidence = {who: columns[f"{who}_confidence"].float() for who in SMALL}
    result["expected_calibration_error"] = {
        who: _calibration_error(confidence[who], right[who]) for who in SMALL
    }
    if "fused_prediction" in columns:
        answered = ~columns["fused_confidence"].isnan()
        result["expected_calibration_error"]["both"] = _calibration_error(
            columns["fused_confidence"][answered].float(), routed[answered]
        )
    if all(f"{who}_logits" in columns for who in SMALL):
        said = {who: probabilities(columns[f"{who}_logits"]).max(-1) for who in SMALL}
        result["expected_calibration_error_untempered"] = {
            who: _calibration_error(values, right[who])
            for who, (values, indices) in said.items()
            if torch.equal(
                indices, columns[f"{who}_prediction"]
            )  # else classes were pruned, which logits do not know
        }


def routed_right(columns: Columns) -> Tensor:
    """Whether the answer to a sample that goes to the large model is right, shape `(N,)`."""
    fused = columns.get("fused_prediction")
    return columns["target"] == (columns["teacher_without_hint_prediction"] if fused is None else fused)


def _calibration_error(confidence: Tensor, right: Tensor) -> float:
    return binary_calibration_error(confidence, right.long(), n_bins=15).item()


def _mean(flags: Tensor) -> float | None:
    return flags.double().mean().item() if len(flags) else None


TITLES = {
    "judge": "Small (judge)",
    "student": "Student",
    "teacher": "Large",
    "both": "Both on all",
    "kcm": "KCM",
    "unfused": "KCM, not fused",
    "random": "Random router",
    "oracle": "Oracle router",
}


def title_of(who: str, summary: dict[str, Any]) -> str:
    """Title of a column, with the number of samples that the large model gave no answer to.

    >>> title_of("teacher", {"unanswered": {"teacher": 3}})
    'Large, 3 unanswered'
    """
    unanswered = summary.get("unanswered", {}).get(who, 0)
    return TITLES[who] + (f", {unanswered} unanswered" if unanswered else "")


def lm_rates(shown: list[str], called: str) -> list[str]:
    """Cells of a table's row of LM rates: `called` for whoever routes, 0 or 100 for each model alone."""
    alone = {"judge": "0.00", "student": "0.00", "teacher": "100.00", "both": "100.00"}
    return [alone.get(who, called) for who in shown]


def table_rows(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the paper's Table 3, in per cent."""
    shown = [who for who in TITLES if who in summary["accuracy"]]
    regions = list(summary["accuracy"]["kcm"])
    rows = [[region, *(percent(summary["accuracy"][who][region]) for who in shown)] for region in regions]
    rows.append(["LM rate", *lm_rates(shown, percent(summary["lm_rate"]["called"]))])
    return ["%", *(title_of(who, summary) for who in shown)], rows


def curve_names(columns: Columns) -> list[str]:
    """What is other than printed along a curve: the gate, and the answers to what it sends on."""
    is_learned = not torch.equal(columns["gate_score"], columns["student_confidence"])
    return ["learned gate"] * is_learned + ["fused answers"] * ("fused_prediction" in columns)


def write_curve(
    path: Path, columns: Columns, summary: dict[str, Any], title: str, data_set: str = ""
) -> None:
    """Draws accuracy against LM rate: KCM's gate and answers at every threshold, and what they compare with.

    These are KCM as the paper prints it, where the gate is learned or answers are fused, the random router,
    the oracle, and KCM as it ran.

    Args:
        path: PNG file; an SVG is written beside it.
        columns: as `gather` returns them, with every model asked about every sample.
        summary: as `summarize` returns it.
        title: title of the figure.
        data_set: name of the data set, of which the paper may have a figure.
    """
    student = columns["student_prediction"] == columns["target"]
    alone = columns["teacher_without_hint_prediction"] == columns["target"]
    routed = routed_right(columns)
    rates, accuracy = routing_curve(columns["gate_score"], student, routed)
    as_printed = routing_curve(columns["student_confidence"], student, alone)[1]
    few = torch.linspace(0, 1, 101).tolist()  # the routers are straight lines, the oracle with a bend or two
    overall = {who: values["overall"] for who, values in summary["accuracy"].items()}
    names = curve_names(columns)
    curve = Curve(
        measure="accuracy, %",
        unit=" %",
        rates=rates,
        values=accuracy,
        half_width=1.96 * (accuracy * (1 - accuracy) / len(student)).sqrt(),
        name=" and ".join(names) or "by the student's confidence",
        as_printed=as_printed if names else None,
        papers=kcm_on(data_set).get("accuracy"),
        routers={
            "random router": [random_accuracy(rate, student, routed) for rate in few],
            "oracle router (knows what is right)": [oracle_accuracy(rate, student, routed) for rate in few],
        },
        judge=overall["judge"],
        student=overall["student"],
        large=overall["teacher"],
        kcm=(summary["lm_rate"]["called"], overall["kcm"]),
        verdict=verdict(summary["kcm_against_random"]),
    )
    write_curves(path, title, [curve])


def prediction_lines(columns: Columns, class_names: list[str]) -> str:
    """One JSON line a sample: `predicted` and `target` by name, then all columns; what was not asked is null.

    Classes in the columns are numbers, the target's is `target_index`.
    """
    plain = {name: values.tolist() for name, values in columns.items() if values.dim() == 1}
    lines = []
    for values in zip(*plain.values(), strict=True):
        row = dict(zip(plain, values, strict=True))
        row["target_index"] = target = row.pop("target")
        row["route"] = Route(row["route"]).name.lower()
        for name, value in row.items():
            if value in (-1, -2) or value != value:
                row[name] = None
        names = {
            "predicted": class_names[row["prediction"]],
            "target": class_names[target] if target >= 0 else None,
        }
        lines.append(json.dumps(names | row))
    return "\n".join(lines) + "\n"
