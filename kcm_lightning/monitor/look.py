"""`monitor`: a look at what a run has answered since it was calibrated."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kcm_lightning.monitor.page import draw, lines
from kcm_lightning.monitor.stream import read_labels, read_stream
from kcm_lightning.monitor.verdict import verdict
from kcm_lightning.results.calibrated_file import NAME, report_of
from kcm_lightning.utils.console import PROGRAM
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import write_json
from kcm_lightning.utils.plain_files import read_json


def monitor(
    run: Path,
    *,
    calibrated: Path | None = None,
    predictions: list[Path] | None = None,
    labels: Path | None = None,
) -> tuple[list[str], bool]:
    """Says whether a run still does what was promised; leaves `monitor.json` and `monitor.png` in its folder.

    Args:
        run: the run folder.
        calibrated: YAML of `calibrate` that the samples were answered with; None for the newest one.
        predictions: files of `predict`, in the order in which they were made; None for all in the run folder.
        labels: JSON lines with `index` and `label` of samples, that came later; None for those in the files.

    Returns:
        What there is to say, a sentence each, and whether it is time to calibrate again.

    Raises:
        InputError: a file is missing or holds something else.
    """
    settings = calibrated or run / NAME
    report = report_of(settings)
    if "baseline" not in report:
        raise InputError(
            f"{settings.with_suffix('.json')} has nothing to compare with: run `calibrate` first"
        )
    files = predictions or sorted(run.rglob("predict.jsonl"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise InputError(f"{run} holds no predict.jsonl: run `predict --shadow 0.01` first")
    names = read_json(run / "data.json", largest=None).get("class_names", [])
    stream = read_stream(files, read_labels(labels, names) if labels else {})
    if not stream.kept:
        raise InputError(f"{files[0]} holds no predictions")
    found = verdict(stream, report)
    write_json(run / "monitor.json", _plain(asdict(found)) | {"calibrate_again": found.calibrate_again})
    draw(run / "monitor.png", found, report["baseline"])
    config = shlex.quote(str(run / "config.yaml"))
    said = lines(found, f"{PROGRAM} calibrate --config {config} --target {report['target']}")
    return [*said, f"scores of then and now: {run / 'monitor.png'}"], found.calibrate_again


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    """The same with alarms as numbers."""
    for name in ("alarm", "differs_alarm"):
        if (alarm := found[name]) is not None:
            found[name] = {"evidence": alarm.evidence, "risk": alarm.risk, "raised_at": alarm.raised_at}
    return found
