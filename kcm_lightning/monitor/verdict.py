"""Whether a running collaboration still does what was promised and expected of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, chi2_contingency

from kcm_lightning.metrics.alarm import Alarm
from kcm_lightning.monitor.stream import Stream

_MOVED = 0.05  # share of the samples that are elsewhere, from which on scores have moved
_SURE = 0.001  # p-value below which that is no chance


@dataclass
class Verdict:
    """What a look at a stream finds.

    Args:
        samples: number of samples that were answered.
        compared: how many of them the large model was asked about for comparison.
        labelled: how many of these have a label.
        drop: mean of their losses; None without labels.
        limit: drop that is promised; None where nothing is.
        alarm: evidence that the drop is above the limit; None without labels or promise.
        differs: share of the compared answers that differ from the large model's; None without any.
        expected_differs: what that was in calibration, with its interval; None where that is not known.
        differs_alarm: evidence that it has risen above that interval.
        kept: share that small models keep.
        expected_kept: what that was in calibration, with its interval.
        kept_moved: whether it is another one now.
        scores: share of the scores in each of calibration's bins, about a tenth each then.
        scores_moved: whether they are distributed otherwise now.
    """

    samples: int
    compared: int
    labelled: int
    drop: float | None
    limit: float | None
    alarm: Alarm | None
    differs: float | None
    expected_differs: Mapping[str, float] | None
    differs_alarm: Alarm | None
    kept: float
    expected_kept: Mapping[str, float]
    kept_moved: bool
    scores: list[float]
    scores_moved: bool

    @property
    def calibrate_again(self) -> bool:
        """Whether something is no longer as it was."""
        raised = [
            alarm for alarm in (self.alarm, self.differs_alarm) if alarm and alarm.raised_at is not None
        ]
        return bool(raised) or self.kept_moved or self.scores_moved


def verdict(stream: Stream, report: Mapping[str, Any], risk: float = 0.05) -> Verdict:
    """Compares a stream with what `calibrate` has found.

    Args:
        stream: samples in the order in which they were answered.
        report: the JSON of `calibrate`, with `baseline` and perhaps `certificate`.
        risk: probability of a false alarm of each kind over the whole stream.
    """
    baseline, limit = report["baseline"], _limit(report)
    alarm = differs_alarm = None
    if limit is not None and stream.losses:
        alarm = Alarm(limit, risk=risk)
        alarm.update(stream.losses)
    expected_differs = baseline.get("differs_from_large")
    if expected_differs and stream.differs:
        differs_alarm = Alarm(min(expected_differs["high"], 0.999), low=0.0, risk=risk)
        differs_alarm.update(stream.differs)
    shares, moved = _scores(stream.scores, baseline)
    kept, expected = float(np.mean(stream.kept)), baseline["kept"]
    return Verdict(
        samples=len(stream.kept),
        compared=len(stream.differs),
        labelled=len(stream.losses),
        drop=float(np.mean(stream.losses)) if stream.losses else None,
        limit=limit,
        alarm=alarm,
        differs=float(np.mean(stream.differs)) if stream.differs else None,
        expected_differs=expected_differs,
        differs_alarm=differs_alarm,
        kept=kept,
        expected_kept=expected,
        kept_moved=_kept_moved(stream.kept, expected),
        scores=shares,
        scores_moved=moved,
    )


def _limit(report: Mapping[str, Any]) -> float | None:
    """The drop in accuracy that is promised."""
    certificate = report.get("certificate") or {}
    is_drop = report["target"].startswith("accuracy_drop=")
    return certificate["limit"] if certificate.get("promised") and is_drop else None


def _kept_moved(kept: list[bool], expected: Mapping[str, float]) -> bool:
    """Whether the share kept is surely outside the interval of calibration, by more than a few points."""
    now = binomtest(sum(kept), len(kept)).proportion_ci(1 - _SURE)
    return bool(now.low > expected["high"] + _MOVED / 2 or now.high < expected["low"] - _MOVED / 2)


def _scores(scores: list[float], baseline: Mapping[str, Any]) -> tuple[list[float], bool]:
    """Share of the scores in each of calibration's bins, and whether that is another distribution."""
    then, edges = np.array(baseline["score_counts"]), baseline["score_edges"]
    if not scores:
        return [], False
    now = np.bincount(np.searchsorted(edges, scores, side="right"), minlength=len(then))
    shares = now / len(scores)
    distance = float(np.abs(shares - then / then.sum()).sum() / 2)
    filled = (now + then) > 0
    if filled.sum() < 2:
        return shares.tolist(), False
    p_value = chi2_contingency(np.stack([now[filled], then[filled]])).pvalue
    return shares.tolist(), bool(p_value < _SURE and distance > _MOVED)
