"""What `test` says at its end: what was made, where, how it compares, and which command comes next."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kcm_lightning.results.costs import costs_in_words
from kcm_lightning.results.promise_kept import in_words as promise_in_words
from kcm_lightning.results.tensorboard import tensorboard_command
from kcm_lightning.utils.console import PROGRAM
from kcm_lightning.utils.plain_files import read_json
from kcm_lightning.utils.tables import percent

Figures = Mapping[str, Any]


def end_of_test(run: Path, folder: Path, found: Figures) -> list[str]:
    """Lines of the block.

    Args:
        run: the run folder.
        folder: where the results are: the run folder, or one within it.
        found: the results.
    """
    lines = [f"results: {folder / 'results.json'}"]
    if (folder / "curve.png").is_file():
        lines.append(f"curve: {folder / 'curve.png'}")
    kept = [promise_in_words(found["promise"])] if "promise" in found else []
    costs = costs_in_words(found) if "costs" in found else []
    return [*_saved(found), *kept, *costs, *lines, *(f"next: {command}" for command in _next(run, found))]


def operating_points(run: Path, folder: Path, found: Figures) -> tuple[list[str], list[list[str]]] | None:
    """A table of this test beside the run's first one, which had other thresholds; None where there is none.

    Args:
        run: the run folder.
        folder: where the results are.
        found: the results.
    """
    if folder == run or "accuracy" not in found or "teacher" not in found["accuracy"]:
        return None
    try:
        first = read_json(run / "results.json")
        if first["data"]["splits"]["test"] != found["data"]["splits"]["test"]:
            return None
        rows = [_row(first), _row(found)]
    except (ValueError, KeyError, TypeError):  # none, or damaged
        return None
    large = percent(found["accuracy"]["teacher"]["overall"])
    return ["%", "accuracy", "LM rate"], [*rows, ["large model alone", large, "100.00"]]


def _row(found: Figures) -> list[str]:
    gates = ", ".join(
        f"{who} {value:.4g}"
        for who in ("judge", "student")
        if (value := found["thresholds"][who]) is not None
    )
    chosen = found.get("calibrated")
    name = f"KCM, {chosen['target']}" if chosen else f"KCM, {gates or 'no gate'}"
    return [name, percent(found["accuracy"]["kcm"]["overall"]), percent(found["lm_rate"]["called"])]


def _saved(found: Figures) -> list[str]:
    """How many calls were saved, and what that costs."""
    rate, samples = found["lm_rate"]["called"], found["samples"]
    against = found.get("kcm_against_teacher", {})
    words = [f"saved: {samples - round(rate * samples):,} of {samples:,} calls of the large model"]
    if "difference" in against:
        points = -100 * against["difference"]
        if abs(points) < 0.005:
            words.append("at the same accuracy")
        elif points > 0:
            words.append(f"for {points:.2f} points of accuracy")
        else:
            words.append(f"with {-points:.2f} points more accuracy")
    return [", ".join(words)]


def _next(run: Path, found: Figures) -> list[str]:
    """Three commands that usually follow."""
    config = f"--config {shlex.quote(str(run / 'config.yaml'))}"
    target = "accuracy_drop=0.01" if "accuracy" in found else "cider_drop=0.01"
    first = (
        f"{PROGRAM} predict {config} --config {shlex.quote(str(run / 'calibrated.yaml'))}"
        if found.get("calibrated")
        else f"{PROGRAM} calibrate {config} --target {target}"
    )
    place = shlex.quote(str(run))
    return [first, f"{PROGRAM} report {place}", tensorboard_command(run)]
