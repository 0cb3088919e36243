"""Recorded captions as the large model."""

from pathlib import Path

import torch

from kcm_lightning.core.predictions import Purpose, Query
from kcm_lightning.large.captioner import CaptionAnswer, LargeCaptioner
from kcm_lightning.large.recorded import RecordedFile, fraction
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.image_io import known_as


class RecordedCaptions(RecordedFile, LargeCaptioner):
    """Captions out of a file of JSON lines.

    Each line has `filename`, with or without folders, `caption` and perhaps `confidence`, a fraction in [0,
    1].

    In `fit`, an image without a caption is one that the model is not confident of; in `test` it is an error
    (`--data.answered` leaves such images out).

    Args:
        path: the file of JSON lines.
        recorded_confidence: confidence of the captions that state none, a fraction in [0, 1]; 0.9 by default.
    """

    def load(self, class_names: list[str], device: torch.device) -> None:
        """Reads the file; captions have no classes."""
        self.device = device
        if self._loaded_for is None:
            self.answers = self.read(self._parse, what="caption")
            self._loaded_for = []

    def _parse(self, row: dict, number: int) -> tuple[str, tuple[str, float]]:
        name, caption = row.get("filename"), row.get("caption")
        try:
            if not isinstance(name, str) or not isinstance(caption, str):
                raise ValueError("`filename` or `caption` is missing, or no text")
            return name, (caption.strip(), fraction(row.get("confidence"), self.recorded_confidence))
        except ValueError as error:
            raise InputError(
                f"{self.path}, line {number}: not `filename`, `caption` and perhaps `confidence` ({error})"
            ) from error

    def caption(self, query: Query, *, with_steps: bool = False) -> CaptionAnswer:
        """The recorded captions of images, by their file names.

        Raises:
            InputError: an image has no caption, and the query is not to teach; it is named.
        """
        names = [known_as(Path(path), self.answers) for path in query.inputs]
        found = [(None, float("nan")) if name is None else self.answers[name] for name in names]
        missing = [path for path, (caption, _) in zip(query.inputs, found, strict=True) if caption is None]
        if missing and query.purpose is Purpose.INFERENCE:
            raise InputError(
                f"{self.path} has no caption of {missing[0]}; --data.answered {self.path} leaves such images "
                "of the data set out; your own images need a large model that can see"
            )
        captions, confidences = zip(*found, strict=True)
        return CaptionAnswer(list(captions), torch.tensor(confidences, device=self.device))
