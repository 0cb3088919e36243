"""Recorded answers as the large model: everything can be run again, offline and for nothing."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from kcm_lightning.errors import InputError
from kcm_lightning.json_lines import read_json_lines
from kcm_lightning.large.base import LargeModel, spread


class RecordedFile(LargeModel):
    """A large model whose answers are in a file of JSON lines.

    Args:
        path: the file.
        recorded_confidence: of answers that have none.
    """

    def __init__(self, path: str, recorded_confidence: float = 0.9):
        if not 0 <= recorded_confidence <= 1:
            raise InputError(f"--model.teacher.recorded_confidence={recorded_confidence} is outside [0, 1]")
        self.path, self.recorded_confidence = Path(path), recorded_confidence
        self.answers: dict | None = None

    @property
    def identity(self) -> str:
        return f"{type(self).__name__} {hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]} {self.recorded_confidence}"

    def cached(self, folder: str, dataset: str) -> LargeModel:
        return self  # it is a cache

    def read(self, parse: Callable[[dict, int], tuple], what: str) -> dict:
        """The file's answers by their keys.

        Args:
            parse: makes a key and an answer of a line and its number.
            what: an answer is.

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


class Recorded(RecordedFile):
    """Class names out of a file of JSON lines.

    Each line has `answer`, a class name, perhaps `confidence`, a fraction in [0, 1], and says which sample it is of:
    `index`, the sample's stable place as `predictions.jsonl` has it, or `text`, the very text. In `fit`, a sample
    without an answer is one that the model is not confident of; in `test` it is an error.

    Args:
        path, recorded_confidence: as of `RecordedFile`.
    """

    def load(self, class_names: list[str], device: torch.device) -> None:
        self.device, self.classes = device, len(class_names)
        if self.answers is not None:
            return
        words = [name.lower() for name in class_names]
        self.answers = self.read(lambda row, number: self._parse(row, number, words), "answer")

    def _parse(self, row: dict, number: int, words: list[str]) -> tuple[int | str, tuple[int, float]]:
        try:
            key = row["text"] if row.get("index") is None else int(row["index"])
            answer, confidence = str(row["answer"]).strip(), row.get("confidence")
            confidence = self.recorded_confidence if confidence is None else float(confidence)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.path}, line {number}: not `answer` with `index` or `text` ({error!r})") from error
        if answer.lower() not in words or not 0 <= confidence <= 1 or not isinstance(key, int | str):
            raise InputError(f"{self.path}, line {number}: {answer!r} with confidence {confidence} is no answer to these data")
        return key, (words.index(answer.lower()), confidence)

    def distribution(self, inputs: Sequence, hint: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        """The recorded class's probability, the rest evenly over the others.

        Raises:
            InputError: a sample has no answer; it is named.
        """
        found = self._find(inputs, samples)
        for row, answer in enumerate(found):
            if answer is None:
                name = f" {inputs[row][:60]!r}" if isinstance(inputs[row], str) else ""
                place = "" if samples is None else f" {samples[row].item()}"
                raise InputError(
                    f"{self.path} has no answer to sample{place}{name}; if only routed samples are recorded, "
                    "leave the comparison out with --model.compare=false"
                )
        return self._distributions(found)

    def teach(self, inputs: Sequence, hint: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        """As `distribution`, but NaN for a sample without an answer."""
        return self._distributions(self._find(inputs, samples))

    def _find(self, inputs: Sequence, samples: Tensor | None) -> list[tuple[int, float] | None]:
        places = [None] * len(inputs) if samples is None else samples.tolist()
        texts = inputs if isinstance(inputs, list) else [None] * len(inputs)
        return [self.answers.get(place, self.answers.get(text)) for place, text in zip(places, texts, strict=True)]

    def _distributions(self, found: list[tuple[int, float] | None]) -> Tensor:
        labels, confidences = zip(*(answer or (-1, 0.0) for answer in found), strict=True)
        return spread(torch.tensor(labels), torch.tensor(confidences), self.classes).to(self.device)
