"""Recorded answers as the large model: everything can be run again, offline and for nothing."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.core.predictions import Purpose, Query
from kcm_lightning.large.base import LargeClassifier, LargeModel, spread
from kcm_lightning.utils.class_names import finder, nearest, shortened
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.json_lines import read_json_lines
from kcm_lightning.utils.strict_json import whole_number
from kcm_lightning.utils.table_files import read_table

TABLES = (".csv", ".tsv", ".parquet")
_Answer = tuple[int, float, str | None]  # class index, confidence, and the text it is to where that is known


_SAMPLES = (
    "record it: every sample that the model is asked about needs an answer, with --model.compare=false the "
    "routed ones alone"
)
_OWN_INPUTS = "to inputs of your own answers a line with the very text, or a large model that can be asked"


class RecordedFile(LargeModel):
    """A large model whose answers are in a file of JSON lines, CSV, TSV or Parquet.

    Args:
        path: the file.
        recorded_confidence: confidence of the answers that state none, a fraction in [0, 1]; 0.9 by default.
    """

    keeps_own_answers = True

    def __init__(self, path: str, recorded_confidence: float = 0.9):
        if not 0 <= recorded_confidence <= 1:
            raise InputError(f"--model.teacher.recorded_confidence={recorded_confidence} is outside [0, 1]")
        self.path, self.recorded_confidence = Path(path), recorded_confidence
        self.answers: dict = {}
        self._loaded_for: list[str] | None = None  # the class names that `answers` are of

    @property
    def identity(self) -> str:
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]
        return f"{type(self).__name__} {digest} {self.recorded_confidence}"

    def read(self, parse: Callable[[dict, int], tuple], what: str) -> dict:
        """The file's answers by their keys.

        Args:
            parse: makes a key and an answer of a line and its number.
            what: what an answer is called in errors.

        Raises:
            InputError: the file cannot be read, or a key has two answers.
        """
        answers: dict = {}
        option = "--model.teacher.path"
        as_table = self.path.suffix.lower() in TABLES
        for number, row in read_table(self.path, option) if as_table else read_json_lines(self.path, option):
            key, answer = parse({name: None if value == "" else value for name, value in row.items()}, number)
            if answers.get(key, answer) != answer:
                raise InputError(f"{self.path}, line {number}: {str(key)[:60]!r} has another {what} already")
            answers[key] = answer
        return answers


class Recorded(RecordedFile, LargeClassifier):
    """Class names out of a file of JSON lines, CSV, TSV or Parquet.

    Each line has `answer`, a class name (case, `_` and `-` do not count, unless two classes differ in nothing
    else), perhaps `confidence`, a fraction in [0, 1], and says which sample it is of: `index`, the sample id
    as `predictions.jsonl` has it; `text`, the very text; or `path`, an image, relative to the file. With
    index and text, the text is compared. Two answers to one sample are an error. In `fit`, a sample without
    an answer is one that the model is not confident of; in `test` it is an error.

    Args:
        path: the file of answers.
        recorded_confidence: confidence of the answers that state none, a fraction in [0, 1]; 0.9 by default.
    """

    def load(self, class_names: list[str], device: torch.device) -> None:
        self.device, self.class_names = device, class_names
        if class_names != self._loaded_for:
            find = finder(class_names)
            self.answers = self.read(lambda row, number: self._parse(row, number, find), what="answer")
            self._loaded_for = list(class_names)

    def _parse(self, row: dict, number: int, find: Callable[[Any], int | None]) -> tuple[int | str, _Answer]:
        where = f"{self.path}, line {number}"
        try:
            text = row.get("text")
            key = text if row.get("index") is None else whole_number(row["index"])
            if key is None and isinstance(row.get("path"), str):
                key = _place(self.path.parent / row["path"])
            answer, confidence = row["answer"], fraction(row.get("confidence"), self.recorded_confidence)
        except (ValueError, KeyError) as error:
            raise InputError(f"{where}: not `answer` with `index`, `text` or `path` ({error!r})") from error
        if not isinstance(key, int | str) or not isinstance(text, str | None):
            raise InputError(
                f"{where}: not `answer` with `index`, a whole number, or `text` or `path`, a text"
            )
        is_name = isinstance(answer, str | int) and not isinstance(answer, bool)
        label = find(answer) if is_name else None
        if label is None:
            names = list(map(str, self.class_names))
            raise InputError(
                f"{where}: {repr(answer)[:60]} is none of the data's class names"
                f"{nearest(str(answer), names)}: {shortened(names)}"
            )
        return key, (label, confidence, text)

    def distribution(self, query: Query) -> Tensor:
        """The recorded class's probability, the rest evenly over the others.

        Raises:
            InputError: a sample has no answer, and the query is not to teach, or an answer to another text;
                it is named.
        """
        found = self._find(query)
        if query.purpose is Purpose.INFERENCE and None in found:
            raise InputError(
                f"{self.path} has no answer to sample{_named(query, found.index(None))}; "
                + (_OWN_INPUTS if query.sample_ids is None else _SAMPLES)
            )
        labels, confidences, _ = zip(*(answer or (-1, 0.0, None) for answer in found), strict=True)
        classes = len(self.class_names)
        return spread(torch.tensor(labels), torch.tensor(confidences), classes).to(self.device)

    def _find(self, query: Query) -> list[_Answer | None]:
        ids = [None] * len(query) if query.sample_ids is None else query.sample_ids.tolist()
        texts: list[Any] = query.inputs if isinstance(query.inputs, list) else [None] * len(query)
        texts = [_place(own) if isinstance(own, Path) else own for own in texts]
        by_index, by_text = [self.answers.get(own) for own in ids], [self.answers.get(own) for own in texts]
        found = [one or other for one, other in zip(by_index, by_text, strict=True)]
        for row, (answer, other, text) in enumerate(zip(found, by_text, texts, strict=True)):
            if answer is not None and other is not None and answer[:2] != other[:2]:
                raise InputError(
                    f"{self.path} has two answers to sample{_named(query, row)}, one by its index and one by "
                    "its text: leave one out"
                )
            if answer is not None and None not in (answer[2], text) and answer[2] != text:
                raise InputError(
                    f"{self.path}: the answer to sample{_named(query, row)} is to another text, "
                    f"{answer[2][:60]!r}: it was recorded for other data"
                )
        return found


def _place(path: Path) -> str:
    """What stands for an image's file."""
    return f"file {os.path.realpath(path)}"


def fraction(value: Any, otherwise: float) -> float:
    """A confidence as a file states it, a fraction in [0, 1].

    Args:
        value: what the file says; None for nothing.
        otherwise: the confidence then.

    Raises:
        ValueError: it is none.
    """
    if value is None:
        return otherwise
    number = float(value) if isinstance(value, str) and "_" not in value else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        raise ValueError(f"the confidence {value!r} is no fraction in [0, 1]")
    return float(number)


def _named(query: Query, row: int) -> str:
    """A sample's id and the beginning of its text, as far as they are known."""
    number = "" if query.sample_ids is None else f" {query.sample_ids[row].item()}"
    text = query.inputs[row]
    return f"{number} {text[:60]!r}" if isinstance(text, str) else number
