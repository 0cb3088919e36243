"""Recorded captions as the large model."""

import os
from contextlib import suppress
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_warn

from kcm_lightning.core.predictions import Purpose, Query
from kcm_lightning.large.captioner import CaptionAnswer, LargeCaptioner
from kcm_lightning.large.recorded import RecordedFile, fraction
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.image_io import names_of, plain_path


class RecordedCaptions(RecordedFile, LargeCaptioner):
    """Captions out of a file of JSON lines.

    Each line has `filename`, with or without folders, `caption` and perhaps `confidence`, a fraction in [0,
    1]. Of two captions of an image, under names with more and with fewer folders, the one with more counts,
    which is said; a name that is that of two images is an error.

    In `fit`, an image without a caption is one that the model is not confident of; in `test` it is an error
    (`--data.answered` leaves such images out).

    Args:
        path: the file of JSON lines.
        recorded_confidence: confidence of the captions that state none, a fraction in [0, 1]; 0.9 by default.
    """

    def __init__(self, path: str, recorded_confidence: float = 0.9):
        super().__init__(path, recorded_confidence)
        self._images: dict[str, str] = {}  # the image that each name was used for
        self._said = False

    def load(self, class_names: list[str], device: torch.device) -> None:
        """Reads the file; captions have no classes."""
        self.device = device
        if self._loaded_for is None:
            self.answers = self.read(self._parse, what="caption")
            self._loaded_for = []

    def _parse(self, row: dict, number: int) -> tuple[str, tuple[str, float]]:
        name, caption = row.get("filename"), row.get("caption")
        try:
            if not isinstance(name, str) or not name or not isinstance(caption, str):
                raise ValueError("`filename` or `caption` is missing, or no text")
            return plain_path(name), (
                caption.strip(),
                fraction(row.get("confidence"), self.recorded_confidence),
            )
        except ValueError as error:
            raise InputError(
                f"{self.path}, line {number}: not `filename`, `caption` and perhaps `confidence` ({error})"
            ) from error

    def caption(self, query: Query, *, with_steps: bool = False) -> CaptionAnswer:
        """The recorded captions of images, by their file names.

        Raises:
            InputError: an image has no caption, and the query is not to teach; or one that is as well another
                image's. It is named.
        """
        names = [self._name_of(path) for path in query.inputs]
        found = [(None, float("nan")) if name is None else self.answers[name] for name in names]
        missing = [path for path, (caption, _) in zip(query.inputs, found, strict=True) if caption is None]
        if missing and query.purpose is Purpose.INFERENCE:
            raise InputError(
                f"{self.path} has no caption of {missing[0]}; --data.answered {self.path} leaves such images "
                "of the data set out; your own images need a large model that can see"
            )
        captions, confidences = zip(*found, strict=True)
        return CaptionAnswer(list(captions), torch.tensor(confidences, device=self.device))

    def _name_of(self, path: str) -> str | None:
        """The name that an image's caption is recorded under; None where there is none."""
        names = names_of(Path(path), self.answers)
        if not names:
            return None
        if other := [name for name in names if self.answers[name] != self.answers[names[0]]]:
            self._say_twice(path, names[0], other[0])
        earlier = self._images.setdefault(names[0], path)
        if earlier != path and _are_two(earlier, path):
            raise InputError(
                f"{self.path}: {names[0]!r} is the name of two images, {earlier} and {path}: record their "
                "captions with the folders too"
            )
        return names[0]

    def _say_twice(self, path: str, longer: str, shorter: str) -> None:
        if not self._said:
            rank_zero_warn(
                f"{self.path} has two captions of an image, {path}, under {longer!r} and {shorter!r}: "
                "the name with more folders counts"
            )
        self._said = True


def _are_two(one: str, other: str) -> bool:
    """Whether two paths lead to two files that exist."""
    with suppress(OSError):
        return not os.path.samefile(one, other)
    return False
