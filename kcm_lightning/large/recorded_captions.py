"""Recorded captions as the large model."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from kcm_lightning.errors import InputError
from kcm_lightning.json_lines import read_json_lines
from kcm_lightning.large.base import Answer, LargeModel
from kcm_lightning.large.captioner import CaptionAnswer, LargeCaptioner
from kcm_lightning.pictures import known_as


class RecordedCaptions(LargeCaptioner):
    """Captions out of a file of JSON lines.

    Each line has `filename`, with or without folders, `caption` and perhaps `confidence`, a fraction in [0, 1].

    In `fit`, a picture without a caption is one that the model is not confident of; in `test` it is an error
    (`--data.answered` leaves such pictures out).

    Args:
        path: the file.
        recorded_confidence: of captions that have none.
    """

    def __init__(self, path: str, recorded_confidence: float = 0.9):
        if not 0 <= recorded_confidence <= 1:
            raise InputError(f"--model.teacher.recorded_confidence={recorded_confidence} is outside [0, 1]")
        self.path, self.recorded_confidence = Path(path), recorded_confidence
        self.captions: dict[str, tuple[str, float]] | None = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        """Reads the file; captions have no classes."""
        self.device = device
        if self.captions is not None:
            return
        captions: dict[str, tuple[str, float]] = {}
        for number, row in read_json_lines(self.path, "--model.teacher.path"):
            name, answer = self._parse(row, number)
            if captions.get(name, answer) != answer:
                raise InputError(f"{self.path}, line {number}: {name!r} has another caption already")
            captions[name] = answer
        self.captions = captions

    def _parse(self, row: dict, number: int) -> tuple[str, tuple[str, float]]:
        name, caption, confidence = row.get("filename"), row.get("caption"), row.get("confidence")
        confidence = self.recorded_confidence if confidence is None else confidence
        good = isinstance(name, str) and isinstance(caption, str) and isinstance(confidence, float | int)
        if not good or not 0 <= confidence <= 1:
            raise InputError(f"{self.path}, line {number}: not `filename`, `caption` and perhaps `confidence` in [0, 1]")
        return name, (caption.strip(), float(confidence))

    @property
    def identity(self) -> str:
        return f"RecordedCaptions {hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]} {self.recorded_confidence}"

    def cached(self, folder: str, dataset: str) -> LargeModel:
        return self  # it is a cache

    def answer(
        self,
        inputs: Sequence[str],
        hint: Answer | None = None,
        samples: Tensor | None = None,
        temperature: float = 1.0,
        in_fit: bool = False,
    ) -> CaptionAnswer:
        """The recorded captions of pictures, by their file names.

        Raises:
            InputError: a picture has no caption, and it is not `in_fit`; it is named.
        """
        names = [known_as(Path(path), self.captions) for path in inputs]
        found = [(None, float("nan")) if name is None else self.captions[name] for name in names]
        missing = [path for path, (caption, _) in zip(inputs, found, strict=True) if caption is None]
        if missing and not in_fit:
            raise InputError(
                f"{self.path} has no caption of {missing[0]}; --data.answered {self.path} leaves such pictures of the data set "
                "out, pictures of one's own need a large model that can see"
            )
        captions, confidences = zip(*found, strict=True)
        return CaptionAnswer(list(captions), torch.tensor(confidences, device=self.device))
