"""Recorded captions as the large model."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from kcm_lightning.errors import InputError
from kcm_lightning.large.base import Answer
from kcm_lightning.large.captioner import CaptionAnswer, LargeCaptioner
from kcm_lightning.large.recorded import RecordedFile
from kcm_lightning.pictures import known_as


class RecordedCaptions(RecordedFile, LargeCaptioner):
    """Captions out of a file of JSON lines.

    Each line has `filename`, with or without folders, `caption` and perhaps `confidence`, a fraction in [0, 1].

    In `fit`, a picture without a caption is one that the model is not confident of; in `test` it is an error
    (`--data.answered` leaves such pictures out).

    Args:
        path, recorded_confidence: as of `RecordedFile`.
    """

    def load(self, class_names: list[str], device: torch.device) -> None:
        """Reads the file; captions have no classes."""
        self.device = device
        if self.answers is None:
            self.answers = self.read(self._parse, "caption")

    def _parse(self, row: dict, number: int) -> tuple[str, tuple[str, float]]:
        name, caption, confidence = row.get("filename"), row.get("caption"), row.get("confidence")
        confidence = self.recorded_confidence if confidence is None else confidence
        good = isinstance(name, str) and isinstance(caption, str) and isinstance(confidence, float | int)
        if not good or not 0 <= confidence <= 1:
            raise InputError(f"{self.path}, line {number}: not `filename`, `caption` and perhaps `confidence` in [0, 1]")
        return name, (caption.strip(), float(confidence))

    def caption(
        self, inputs: Sequence[str], hint: Answer | None, samples: Tensor | None, in_fit: bool, steps: bool
    ) -> CaptionAnswer:
        """The recorded captions of pictures, by their file names.

        Raises:
            InputError: a picture has no caption, and it is not `in_fit`; it is named.
        """
        names = [known_as(Path(path), self.answers) for path in inputs]
        found = [(None, float("nan")) if name is None else self.answers[name] for name in names]
        missing = [path for path, (caption, _) in zip(inputs, found, strict=True) if caption is None]
        if missing and not in_fit:
            raise InputError(
                f"{self.path} has no caption of {missing[0]}; --data.answered {self.path} leaves such pictures of the data set "
                "out, pictures of one's own need a large model that can see"
            )
        captions, confidences = zip(*found, strict=True)
        return CaptionAnswer(list(captions), torch.tensor(confidences, device=self.device))
