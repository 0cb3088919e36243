"""Whether a test kept what `calibrate` had promised."""

from collections.abc import Mapping
from typing import Any

from scipy.stats import binomtest


def promise_kept(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Compares a promise with the figures of a test.

    Args:
        found: the results of the test.

    Returns:
        `target`, `limit`, `confidence`, and of what it limits (a drop or an accuracy) `value` with its 95 %
        interval `low` to `high`; `by_region` of a promise that holds in each; and `kept`. None where nothing
        was promised, or the large model was not asked about each sample, so that a drop is not known.
    """
    certificate = (found.get("calibrated") or {}).get("certificate") or {}
    if not certificate.get("promised"):
        return None
    kind, limit = found["calibrated"]["target"].partition("=")[0], certificate["limit"]
    of_test = _accuracy(found) if kind == "accuracy" else _drop(kind, found)
    if of_test is None:
        return None
    said = {"target": found["calibrated"]["target"], "confidence": certificate["confidence"], "limit": limit}
    values = [of_test["value"]]
    if certificate["by"]:
        said["by_region"] = _by_region(kind, found)
        values = list(said["by_region"].values())
    kept = min(values) >= limit if kind == "accuracy" else max(values) <= limit
    return said | of_test | {"kept": bool(kept)}


def in_words(promise: Mapping[str, Any]) -> str:
    """The comparison as a sentence.

    Args:
        promise: as `promise_kept` returns it.
    """
    verdict = "kept" if promise["kept"] else "not kept"
    is_drop = not promise["target"].startswith("accuracy=")
    value, low, high = (100 * promise[end] for end in ("value", "low", "high"))
    words = f"the {'drop' if is_drop else 'accuracy'} is {value:.2f} (95 % interval {low:.2f} to {high:.2f})"
    if "by_region" in promise:
        words += ", " + ", ".join(f"{name} {100 * own:.2f}" for name, own in promise["by_region"].items())
    within = promise["low"] <= promise["limit"] <= promise["high"]
    doubt = "; the limit is within the interval" if within and not promise["kept"] else ""
    return f"promise {promise['target']} ({100 * promise['confidence']:g} %): {verdict}; {words}{doubt}"


def _accuracy(found: Mapping[str, Any]) -> dict[str, float]:
    right = round(found["accuracy"]["kcm"]["overall"] * found["samples"])
    interval = binomtest(right, found["samples"]).proportion_ci(method="wilson")
    return {"value": right / found["samples"], "low": float(interval.low), "high": float(interval.high)}


def _drop(kind: str, found: Mapping[str, Any]) -> dict[str, float] | None:
    against = found.get("kcm_against_teacher")
    if kind in ("bleu_drop", "cider_drop") and against is not None:
        against = against["BLEU-4" if kind == "bleu_drop" else "CIDEr"]
    if against is None or "difference" not in against:
        return None
    return {"value": -against["difference"], "low": -against["high"], "high": -against["low"]}


def _by_region(kind: str, found: Mapping[str, Any]) -> dict[str, float]:
    """Drop, or accuracy, in each region."""
    kcm, large = found["accuracy"]["kcm"], found["accuracy"].get("teacher", {})
    regions = {name: own for name, own in kcm.items() if name != "overall" and own is not None}
    return {name: own if kind == "accuracy" else large[name] - own for name, own in regions.items()}
