"""Captioned images out of Karpathy's files and COCO's own annotation files."""

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

from kcm_lightning.utils.errors import InputError

PUBLISHED = {"dataset_coco": "coco", "dataset_flickr30k": "flickr30k", "dataset_flickr8k": "flickr8k"}
for _split in ("train", "val", "test"):
    PUBLISHED |= {f"captions_{_split}{year}": "coco" for year in (2014, 2017)}


@dataclass
class CaptionedImage:
    """An image and what people said of it.

    Args:
        path: path of the file.
        captions: what people said; none where it is only to be captioned.
        split: train, val or test.
    """

    path: Path
    captions: list[str]
    split: str


def read_all(
    root: Path, captions: str, annotations: dict[str, str] | None, images: str
) -> list[CaptionedImage]:
    """All images of a data set, of the splits train, val and test.

    Args:
        root: folder of the data.
        captions: Karpathy's file in it.
        annotations: instead of that, COCO's annotation file of each split; without test, every other image of
            val is tested on, as COCO publishes no captions of its own test split.
        images: folder in `root` that Karpathy's file names are relative to.

    Raises:
        InputError: a file is missing or damaged, or a split is empty.
    """
    if annotations is None:
        found = read_karpathy(root / captions, root / images)
    else:
        found = []
        for split, file in annotations.items():
            folder = root / Path(file).stem.removeprefix("captions_")
            found += read_official(root / file, folder, split)
        if "test" not in annotations:
            for image in [image for image in found if image.split == "val"][1::2]:
                image.split = "test"
    if missing := {"train", "val", "test"} - {image.split for image in found}:
        raise InputError(f"{root}: there are no images of split {', '.join(sorted(missing))}")
    return found


def dataset_name(root: Path, files: list[str]) -> str:
    """Name of the data set of caption files: a published one, or the file's with a digest of its content.

    Your own data sets may share file names, and their images too.
    """
    stems = [Path(file).stem for file in files]
    if all(stem in PUBLISHED for stem in stems):
        return PUBLISHED[stems[0]]
    digest = hashlib.sha256(b"".join((root / file).read_bytes() for file in files)).hexdigest()[:8]
    return f"{stems[0].removeprefix('dataset_')}-{digest}"


def read_karpathy(file: Path, images: Path) -> list[CaptionedImage]:
    """Images of `dataset_coco.json`, `dataset_flickr30k.json` or `dataset_flickr8k.json`.

    Args:
        file: Karpathy's file. Its split `restval` counts as train.
        images: folder that file names (with their folder, if the file has one) are relative to.
    """
    found = []
    for row in _load(file).get("images") or []:
        try:
            path = images / row.get("filepath", "") / row["filename"]
            captions = [sentence["raw"] for sentence in row["sentences"]]
            split = "train" if row["split"] == "restval" else row["split"]
        except (KeyError, TypeError) as error:
            raise InputError(f"{file} is not in Karpathy's format: an image lacks {error}") from error
        found.append(CaptionedImage(path, captions, split))
    return found


def read_official(file: Path, images: Path, split: str) -> list[CaptionedImage]:
    """Images of an annotation file such as `captions_val2017.json`, through pycocotools.

    Args:
        file: COCO's annotation file.
        images: folder of the images.
        split: split that they belong to.
    """
    from pycocotools.coco import COCO

    _load(file)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        coco = COCO(str(file))
    try:
        found = []
        for number, row in sorted(coco.imgs.items()):
            captions = [note["caption"] for note in coco.imgToAnns[number]]
            found.append(CaptionedImage(images / row["file_name"], captions, split))
        return found
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
