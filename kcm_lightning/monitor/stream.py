"""What a running collaboration has left of its samples, and labels that came later."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.json_lines import read_json_lines


@dataclass
class Stream:
    """Samples in the order in which they were answered.

    Args:
        scores: what the student's gate compared; NaN of those that the judge kept unasked is left out.
        kept: whether a small model answered.
        differs: of the samples drawn for comparison, whether the answer differs from the large model's own.
        losses: of these with a label, whether the large model alone is right (1 or 0) minus whether the
            answer is.
    """

    scores: list[float] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    differs: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def read_stream(files: list[Path], labels: Mapping[str, int]) -> Stream:
    """Reads predictions.

    Args:
        files: `predict.jsonl` of commands, the first one first.
        labels: as `read_labels` returns them; those that predictions have of their own come second.

    Raises:
        InputError: a file holds something else.
    """
    stream = Stream()
    for path in files:
        for number, row in read_json_lines(path, "--predictions"):
            try:
                _add(stream, row, labels)
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"{path}, line {number}: no prediction: {str(row)[:80]}") from error
    return stream


def read_labels(path: Path, class_names: list[str]) -> dict[str, int]:
    """Labels that came later.

    Args:
        path: JSON lines with `index`, the number of a sample, and `label`, a class by name or number.
        class_names: in the order of their numbers.

    Raises:
        InputError: a line is something else.
    """
    numbers = {name: place for place, name in enumerate(class_names)}
    found = {}
    for number, row in read_json_lines(path, "--labels"):
        if not {"index", "label"} <= row.keys():
            raise InputError(f"{path}, line {number}: give index and label, not {str(row)[:60]}")
        label = numbers.get(row["label"], row["label"])
        if type(label) is not int or not 0 <= label < len(class_names):
            raise InputError(f"{path}, line {number}: {row['label']!r} is no class of the run")
        found[str(row["index"])] = label
    return found


def _add(stream: Stream, row: Mapping[str, Any], labels: Mapping[str, int]) -> None:
    if row["gate_score"] is not None:
        stream.scores.append(float(row["gate_score"]))
    stream.kept.append(row["route"] != "teacher")
    large = row.get("teacher_prediction")
    if not row.get("shadowed") or large is None:
        return
    stream.differs.append(float(row["prediction"] != large))
    label = labels.get(str(row["index"]), row.get("target_index"))
    if label is not None:
        stream.losses.append(float(large == label) - float(row["prediction"] == label))
