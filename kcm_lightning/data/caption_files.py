"""Captioned pictures out of Karpathy's files and COCO's own annotation files."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

from kcm_lightning.errors import InputError


@dataclass
class Picture:
    """A picture and what people said of it.

    Args:
        path: of the file.
        captions: some; none where it is only to be captioned.
        split: train, val or test.
    """

    path: Path
    captions: list[str]
    split: str


def read_karpathy(file: Path, images: Path) -> list[Picture]:
    """Pictures of `dataset_coco.json`, `dataset_flickr30k.json` or `dataset_flickr8k.json`.

    Args:
        file: Karpathy's file. Its split `restval` counts as train.
        images: folder that file names (with their folder, if the file has one) are relative to.
    """
    pictures = []
    for row in _load(file).get("images") or []:
        try:
            path = images / row.get("filepath", "") / row["filename"]
            captions = [sentence["raw"] for sentence in row["sentences"]]
            split = "train" if row["split"] == "restval" else row["split"]
        except (KeyError, TypeError) as error:
            raise InputError(f"{file} is not in Karpathy's format: an image lacks {error}") from error
        pictures.append(Picture(path, captions, split))
    return pictures


def read_official(file: Path, images: Path, split: str) -> list[Picture]:
    """Pictures of an annotation file such as `captions_val2017.json`, through pycocotools.

    Args:
        file: COCO's annotation file.
        images: folder of the pictures.
        split: that they are of.
    """
    from pycocotools.coco import COCO

    _load(file)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        coco = COCO(str(file))
    try:
        return [
            Picture(images / row["file_name"], [note["caption"] for note in coco.imgToAnns[number]], split)
            for number, row in sorted(coco.imgs.items())
        ]
    except KeyError as error:
        raise InputError(f"{file} is no file of captions: an entry lacks {error}") from error


def _load(file: Path) -> dict:
    if not file.is_file():
        raise InputError(f"there is no caption file {str(file)!r}")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} is no JSON, or cut off: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("images"), list):
        raise InputError(f"{file} holds no list `images`: is it a caption file?")
    return found
