"""Whether a target was met on samples that the thresholds were not chosen on."""

import math
from collections.abc import Mapping
from typing import Any

from kcm_lightning.calibrate.answers import Interval
from kcm_lightning.calibrate.target import Target

_WITHIN = 0.01  # how closely an LM rate, or a drop of at most 0, is to be known


def met_on_unseen(target: Target, samples: int, expected: Mapping[str, Interval]) -> dict[str, Any] | None:
    """Compares a target with what was estimated on samples that had no say in the choice.

    Args:
        target: what thresholds were chosen for.
        samples: number of validation samples, N.
        expected: as `expected_on_unseen` returns it.

    Returns:
        `estimate` and its `high` end (of the LM rate, the drop in quality or the error rate), `met` (whether
        the estimate is within the target), `missed_by` (0 where it is met), `sure` (whether the whole
        interval is), and
        `samples_needed`: about how many labelled samples make the interval as narrow as the target is wide
        (one point where that is 0, and for LM rates). None where the large model's answers are not known.
    """
    name = "lm_rate"
    if target.is_quality:
        name = f"{target.measure}_minus_teacher" if target.is_drop else target.measure
    if name not in expected:
        return None
    found, most = expected[name], _most(target)
    whole = 0.0 if target.is_drop else 1.0
    estimate = whole - found["mean"] if target.is_quality else found["mean"]
    high = whole - found["low"] if target.is_quality else found["high"]
    half_width = (found["high"] - found["low"]) / 2
    within = most if target.is_quality and most else _WITHIN
    return {
        "estimate": estimate,
        "high": high,
        "met": bool(estimate <= most),
        "missed_by": max(0.0, estimate - most),
        "sure": bool(high <= most),
        "samples_needed": math.ceil(samples * (half_width / within) ** 2),
    }


def in_words(target: Target, samples: int, met: Mapping[str, Any]) -> str:
    """The comparison as a sentence.

    Args:
        target: what thresholds were chosen for.
        samples: number of validation samples.
        met: as `met_on_unseen` returns it.
    """
    is_score = target.is_quality and target.measure != "accuracy"
    unit = f"{target.measure} x 100" if is_score else "points"
    what = "the LM rate is"
    if target.is_quality:
        what = "the drop is" if target.is_drop else "the error rate is"
    limit = f"at most {100 * _most(target):g}"
    if met["sure"]:
        verdict = f"met on samples that it had not seen: {what} {100 * met['estimate']:.2f}, {limit}"
        return f"target {target}: {verdict}, the whole 95 % interval"
    if met["met"]:
        estimate = f"{what} {100 * met['estimate']:.2f}, {limit}"
        verdict = f"met on samples that it had not seen, but not surely: {estimate}"
    else:
        missed = f"by {100 * met['missed_by']:.2f} {unit}"
        verdict = (
            f"missed {missed} on samples that it had not seen: {what} {100 * met['estimate']:.2f}, {limit}"
        )
    needed = met["samples_needed"]
    more = (
        f"; about {needed:,} labelled samples in place of {samples:,} would tell" if needed > samples else ""
    )
    return f"target {target}: {verdict}{more}"


def _most(target: Target) -> float:
    """What the LM rate, the drop or the error rate may be."""
    return target.value if target.is_drop or not target.is_quality else 1 - target.value
