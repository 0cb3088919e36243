"""What `monitor` says and draws."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from kcm_lightning.metrics.alarm import Alarm
from kcm_lightning.monitor.verdict import Verdict
from kcm_lightning.utils.files import write_figure


def lines(found: Verdict, command: str) -> list[str]:
    """Sentences about a look.

    Args:
        found: the look.
        command: that calibrates again.
    """
    said = [
        f"{found.samples:,} samples answered, {found.compared:,} of them compared with the large model, "
        f"{found.labelled:,} of these with a label"
    ]
    if found.drop is not None:
        said.append(_of_drop(found, found.drop))
    if found.differs is not None:
        said.append(_of_differs(found, found.differs))
    if not found.compared:
        said.append("drop: not known; let predict compare some samples, --shadow 0.01")
    moved = "has moved" if found.kept_moved else "is as in calibration"
    low, high = (100 * found.expected_kept[end] for end in ("low", "high"))
    said.append(
        f"share kept by small models: {100 * found.kept:.1f} %, {low:.1f} to {high:.1f} expected: it {moved}"
    )
    moved = "have moved" if found.scores_moved else "are distributed as in calibration"
    said.append(f"scores of the gate {moved}")
    if found.calibrate_again:
        said.append(f"calibrate again, on newer labelled samples: {command}")
    else:
        said.append("nothing speaks for calibrating again")
    return said


def _of_drop(found: Verdict, drop: float) -> str:
    head = f"drop: {100 * drop:.2f} points on {found.labelled:,} labelled samples"
    if found.alarm is None:
        return f"{head}; none is promised"
    words = _alarm_in_words(found.alarm, "it is above that")
    return f"{head}, at most {100 * found.alarm.limit:g} promised: {words}"


def _of_differs(found: Verdict, differs: float) -> str:
    head = f"answers that differ from the large model's: {100 * differs:.2f} %"
    if found.differs_alarm is None or found.expected_differs is None:
        return head
    low, high = (100 * found.expected_differs[end] for end in ("low", "high"))
    words = _alarm_in_words(found.differs_alarm, "they have become more")
    return f"{head}, {low:.2f} to {high:.2f} expected: {words}"


def _alarm_in_words(alarm: Alarm, claim: str) -> str:
    sure = f"{100 * (1 - alarm.risk):g} %"
    if alarm.raised_at is None:
        return f"no alarm (evidence {alarm.evidence:.2g} of {1 / alarm.risk:g})"
    return f"ALARM after {alarm.raised_at:,} samples: {claim}, with a confidence of {sure}"


def draw(path: Path, found: Verdict, baseline: Mapping[str, Any]) -> None:
    """Draws the scores of then and now, and the evidence of both alarms.

    Args:
        path: PNG file.
        found: the look.
        baseline: of the JSON of `calibrate`.
    """
    from matplotlib.figure import Figure

    then = [count / sum(baseline["score_counts"]) for count in baseline["score_counts"]]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for shift, values, label, color in (
        (-0.2, then, "calibration", "#595959"),
        (0.2, found.scores, f"now, {found.samples:,} samples", "#0072B2"),
    ):
        places = [place + shift for place in range(len(values))]
        axes.bar(places, [100 * own for own in values], 0.4, label=label, color=color)
    axes.set_xticks(range(len(then)), _bins(baseline["score_edges"]), rotation=30, ha="right")
    moved = "have moved" if found.scores_moved else "are as in calibration"
    axes.set(xlabel="score of the gate", ylabel="samples, %", title=f"The scores of the gate {moved}")
    axes.legend(frameon=False)
    write_figure(path, figure)


def _bins(edges: list[float]) -> list[str]:
    """Names of the bins between some edges.

    >>> _bins([0.25, 0.5])
    ['below 0.25', '0.25 to 0.5', 'from 0.5']
    """
    if not edges:
        return ["all"]
    words = [f"{edge:.2g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(words)]
    return [f"below {words[0]}", *between, f"from {words[-1]}"]
