"""Runs of several variants side by side: a row a variant, means over seeds."""

from typing import Any

from kcm_lightning.utils.tables import spread


def variants_table(runs: list[tuple[str, dict[str, Any]]]) -> tuple[list[str], list[list[str]]]:
    """Mean, standard deviation and count of each figure that the runs have.

    Args:
        runs: name of the variant and results of each run; variants come in the order of their first.

    Returns:
        Head and rows, in per cent; a figure that a variant does not have is a dash.
    """
    by_variant: dict[str, list[dict[str, float]]] = {}
    for variant, results in runs:
        by_variant.setdefault(variant, []).append(_figures(results))
    names = list(dict.fromkeys(name for own in by_variant.values() for run in own for name in run))
    rows = []
    for variant, own in by_variant.items():
        shown = [[run[name] for run in own if name in run] for name in names]
        rows.append([variant, *(spread(values) for values in shown), str(len(own))])
    return ["variant, %", *names, "runs"], rows


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
