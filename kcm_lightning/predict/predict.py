"""`predict --input`: a run's answers to inputs of any number, in constant memory."""

import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from kcm_lightning.api import Run
from kcm_lightning.core.predictions import Outcome
from kcm_lightning.core.routing import Route
from kcm_lightning.data.texts import TextDataModule
from kcm_lightning.predict.inputs import PIPE, Kind, Row, read_inputs
from kcm_lightning.predict.output import OutputFile
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.progress import ProgressLine

COLUMNS = ("row", "path", "answer", "confidence", "route", "score", "cost", "problem")


def predict(
    run: Run, given: str, output: Path, *, asked: dict[str, Any], columns: list[str], batch_size: int
) -> dict[str, Any]:
    """Answers all inputs, batch by batch; a command that was killed goes on after the last batch it wrote.

    A row that cannot be read has a `problem` in place of an answer.

    Args:
        run: a trained run.
        given: see `read_inputs`.
        output: file to write: JSON lines, CSV or Parquet.
        asked: what tells this work from another beside the input; plain values only.
        columns: columns of the text or path in a table.
        batch_size: inputs that are answered at once.

    Returns:
        Counts: `rows`, `bad`, `called` (of the large model), `routes`, and `cost`.

    Raises:
        InputError: there is no such input, or the output was begun for something else.
    """
    kind: Kind = "texts" if isinstance(run.data, TextDataModule) else "images"
    rows = read_inputs(given, kind, columns)
    asked = asked | {"input": _state_of(given), "columns": columns, "batch_size": batch_size}
    shown = [name for name in COLUMNS if name != "path" or kind == "images"]
    file = OutputFile(output, shown, asked)
    counts = file.counts = file.counts or {"rows": 0, "bad": 0, "called": 0, "cost": 0.0, "routes": {}}
    line, start, before = ProgressLine(), time.monotonic(), file.rows
    try:
        for _ in islice(rows, file.rows):
            pass
        for batch in _batches(rows, batch_size):
            answered = _answered(run, batch)
            _count(counts, answered)
            file.add([{name: row[name] for name in shown} for row in answered], done=file.rows + len(batch))
            if line.due():
                line.show(_progress(counts, (file.rows - before) / (time.monotonic() - start)))
        if not counts["rows"]:
            raise InputError(f"--input: {given!r} holds nothing")
        line.show(_progress(counts, (file.rows - before) / (time.monotonic() - start)), end=True)
    except BaseException:
        line.close()
        file.close()
        raise
    file.finish()
    return counts


def _state_of(given: str) -> list[Any]:
    """What tells an input from another: its place, size and time."""
    if given == PIPE:
        return [given]
    path = Path(given)
    state = path.stat() if path.exists() else None
    size = [] if state is None else [state.st_size, state.st_mtime_ns]
    return [str(path.resolve()), *size]


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while batch := list(islice(rows, size)):
        yield batch


def _answered(run: Run, rows: list[Row]) -> list[dict[str, Any]]:
    """What is written for some rows, bad ones among them."""
    good = [row for row in rows if row.problem is None]
    found = {row.number: _empty(row) for row in rows}
    try:
        batch = run.data.batch_of([row.value for row in good]) if good else None
    except InputError:
        good = [row for row in good if _is_readable(run, row, found)]
        batch = run.data.batch_of([row.value for row in good]) if good else None
    if batch is not None:
        outcome = run.collaborate(batch)
        for row, answer in zip(good, _plain(run, outcome), strict=True):
            found[row.number] |= answer
    return list(found.values())


def _empty(row: Row) -> dict[str, Any]:
    return dict.fromkeys(COLUMNS) | {
        "row": row.number,
        "path": None if row.value is None else str(row.value),
        "problem": row.problem,
    }


def _is_readable(run: Run, row: Row, found: dict[int, dict[str, Any]]) -> bool:
    """Whether a row can be read; says in `found` what is wrong with it."""
    try:
        run.data.batch_of([row.value])
    except InputError as error:
        found[row.number]["problem"] = str(error)
        return False
    return True


def _plain(run: Run, outcome: Outcome) -> Iterator[dict[str, Any]]:
    """Plain values of each answer."""
    labels = run.labels(outcome.prediction)
    costs = iter(_costs(run, outcome))
    columns = (outcome.confidence, outcome.route, outcome.gate_score, outcome.called)
    for label, confidence, route, score, called in zip(labels, *(c.tolist() for c in columns), strict=True):
        yield {
            "answer": label,
            "confidence": _or_none(confidence),
            "route": Route(route).name.lower(),
            "score": _or_none(score),
            "cost": next(costs) if called else 0.0,
            "called": called,
        }


def _costs(run: Run, outcome: Outcome) -> list[float]:
    """What each call of the large model has cost, in the currency of its prices; 0 where it has none."""
    called = int(outcome.called.sum())
    costs = run.module.teacher.latest_costs if called else None
    return [0.0] * called if costs is None else costs


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _count(counts: dict[str, Any], answered: list[dict[str, Any]]) -> None:
    counts["rows"] += len(answered)
    for row in answered:
        if row["problem"] is not None:
            counts["bad"] += 1
            continue
        counts["routes"][row["route"]] = counts["routes"].get(row["route"], 0) + 1
        counts["called"] += row["called"]
        counts["cost"] += row["cost"]


def _progress(counts: dict[str, Any], rate: float) -> str:
    good = counts["rows"] - counts["bad"]
    said = f"{counts['rows']:,} rows, {rate:,.0f} a second"
    if good:
        said += f", LM rate {100 * counts['called'] / good:.1f} %"
    return said + (f", {counts['bad']:,} bad" if counts["bad"] else "")
