"""Runs of several variants side by side: a row a variant, means over seeds."""

from typing import Any

from kcm_lightning.results.comparable import differences, labels, measured_on, not_done, variant_of
from kcm_lightning.utils.tables import spread

_SHOWN = 2  # differences that a row names


def variants_table(runs: list[tuple[str, dict[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """Mean, standard deviation and count of each figure that the runs have.

    Runs of a variant that differ in more than their seed, in options, data or large model, are never
    averaged: they have rows of their own, which say what differs.

    Args:
        runs: name of the variant and results of each run; variants come in the order of their first.

    Returns:
        Head and rows, in per cent; a figure that a variant does not have is a dash, and one that only some of
        its runs have says how many. Where a fit was cut short, the row says so.
    """
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for variant, results in runs:
        by_variant.setdefault(variant, []).append(results)
    groups = [group for variant, own in by_variant.items() for group in _groups(variant, own)]
    groups = [(_with_what_was_not_done(label, own[0]), own) for label, own in groups]
    figures = [(label, [_figures(results) for results in own]) for label, own in groups]
    names = list(dict.fromkeys(name for _, own in figures for run in own for name in run))
    rows = [[label, *(_cell(own, name) for name in names), str(len(own))] for label, own in figures]
    return ["variant, %", *names, "runs"], rows


def _cell(runs: list[dict[str, float]], name: str) -> str:
    values = [run[name] for run in runs if name in run]
    some = f" ({len(values)} of {len(runs)})" if 0 < len(values) < len(runs) else ""
    return spread(values) + some


def _groups(variant: str, runs: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The runs of a variant that may be averaged; where there are several groups, with what differs."""
    groups: list[list[dict[str, Any]]] = []
    for results in runs:
        fitting = (own for own in groups if not differences(_described(own[0]), _described(results)))
        group = next(fitting, None)
        if group is None:
            groups.append(group := [])
        group.append(results)
    if len(groups) == 1:
        return [(variant, runs)]
    said = labels([_described(own[0]) for own in groups], shown=_SHOWN)
    return [(f"{variant}: {label}", own) for label, own in zip(said, groups, strict=True)]


def _with_what_was_not_done(label: str, results: dict[str, Any]) -> str:
    """A row's label that says what the fits of its runs, all alike, have not done."""
    said = "; ".join(not_done(results))
    return label if not said or "not done" in label else f"{label} ({said})"


def _described(results: dict[str, Any]) -> dict[str, Any]:
    return variant_of(results) | measured_on(results)


def _figures(results: dict[str, Any]) -> dict[str, float]:
    """What of a run's results stands in a table of variants: fractions, and scores of captions."""
    if "groups" in results:
        return _of_sequence(results)
    figures = {}
    if "accuracy" in results:
        for who in ("judge", "student", "teacher"):
            if who in results["accuracy"]:
                figures[who] = results["accuracy"][who]["overall"]
        figures |= {
            f"KCM {region}": value
            for region, value in results["accuracy"]["kcm"].items()
            if value is not None
        }
    else:
        for who in ("judge", "student", "teacher", "kcm"):
            own = results["scores"].get(who, {})
            figures |= {f"{who} {name}": own[name] for name in ("BLEU-4", "CIDEr") if name in own}
    figures["LM rate"] = results["lm_rate"]["called"]
    for who, count in results.get("unanswered", {}).items():
        if count:
            figures[f"{who} unanswered"] = count / results["samples"]
    if "share_of_oracle_gain" in results:
        figures["share"] = results["share_of_oracle_gain"]
    for who, values in results.get("expected_calibration_error", {}).items():
        if who in results.get("expected_calibration_error_untempered", {}):
            figures[f"ECE {who}, T = 1"] = results["expected_calibration_error_untempered"][who]
        figures[f"ECE {who}"] = values
    return figures


def _of_sequence(results: dict[str, Any]) -> dict[str, float]:
    figures = {f"final {region}": value for region, value in results["final_accuracy"].items()}
    for kind, shown in (("all_classes", "all"), ("own_classes", "own")):
        last = results[kind]["accuracy_after_each_group"][-1]
        figures[f"{shown}: mean of groups"] = sum(last) / len(last)
        figures |= {
            f"{shown}: {name.replace('_', ' ')}": results[kind][name]
            for name in ("forgetting", "backward_transfer")
        }
    return figures
