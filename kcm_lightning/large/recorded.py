"""Recorded answers as the large model: everything can be run again, offline and for nothing."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from kcm_lightning.core.predictions import Purpose, Query
from kcm_lightning.large.base import LargeClassifier, LargeModel, spread
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.json_lines import read_json_lines


class RecordedFile(LargeModel):
    """A large model whose answers are in a file of JSON lines.

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
        self._loaded = False

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
        for number, row in read_json_lines(self.path, "--model.teacher.path"):
            key, answer = parse(row, number)
            if answers.get(key, answer) != answer:
                raise InputError(f"{self.path}, line {number}: {str(key)[:60]!r} has another {what} already")
            answers[key] = answer
        return answers


class Recorded(RecordedFile, LargeClassifier):
    """Class names out of a file of JSON lines.

    Each line has `answer`, a class name, perhaps `confidence`, a fraction in [0, 1], and says which sample it
    is of: `index`, the sample id as `predictions.jsonl` has it, or `text`, the very text. In `fit`, a sample
    without an answer is one that the model is not confident of; in `test` it is an error.

    Args:
        path: the file of JSON lines.
        recorded_confidence: confidence of the answers that state none, a fraction in [0, 1]; 0.9 by default.
    """

    def load(self, class_names: list[str], device: torch.device) -> None:
        self.device, self.classes = device, len(class_names)
        if not self._loaded:
            words = [name.lower() for name in class_names]
            self.answers = self.read(lambda row, number: self._parse(row, number, words), what="answer")
            self._loaded = True

    def _parse(self, row: dict, number: int, words: list[str]) -> tuple[int | str, tuple[int, float]]:
        try:
            key = row["text"] if row.get("index") is None else int(row["index"])
            answer, confidence = str(row["answer"]).strip(), row.get("confidence")
            confidence = self.recorded_confidence if confidence is None else float(confidence)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.path}, line {number}: not `answer` with `index` or `text` ({error!r})"
            ) from error
        if answer.lower() not in words or not 0 <= confidence <= 1 or not isinstance(key, int | str):
            raise InputError(
                f"{self.path}, line {number}: {answer!r} with confidence {confidence} is no answer to these "
                "data"
            )
        return key, (words.index(answer.lower()), confidence)

    def distribution(self, query: Query) -> Tensor:
        """The recorded class's probability, the rest evenly over the others.

        Raises:
            InputError: a sample has no answer, and the query is not to teach; it is named.
        """
        found = self._find(query)
        if query.purpose is Purpose.INFERENCE and None in found:
            raise InputError(
                f"{self.path} has no answer to sample{_named(query, found.index(None))}; if only routed "
                "samples are recorded, leave the comparison out with --model.compare=false"
            )
        labels, confidences = zip(*(answer or (-1, 0.0) for answer in found), strict=True)
        return spread(torch.tensor(labels), torch.tensor(confidences), self.classes).to(self.device)

    def _find(self, query: Query) -> list[tuple[int, float] | None]:
        ids = [None] * len(query) if query.sample_ids is None else query.sample_ids.tolist()
        texts = query.inputs if isinstance(query.inputs, list) else [None] * len(query)
        return [self.answers.get(own, self.answers.get(text)) for own, text in zip(ids, texts, strict=True)]


def _named(query: Query, row: int) -> str:
    """A sample's id and the beginning of its text, as far as they are known."""
    number = "" if query.sample_ids is None else f" {query.sample_ids[row].item()}"
    text = query.inputs[row]
    return f"{number} {text[:60]!r}" if isinstance(text, str) else number
