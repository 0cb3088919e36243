"""Captioned images out of Karpathy's files and COCO's own annotation files."""

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.strict_json import parse_json, whole_number
from kcm_lightning.utils.tokens import is_text

PUBLISHED = {"dataset_coco": "coco", "dataset_flickr30k": "flickr30k", "dataset_flickr8k": "flickr8k"}
for _split in ("train", "val", "test"):
    PUBLISHED |= {f"captions_{_split}{year}": "coco" for year in (2014, 2017)}
SPLITS = ("train", "val", "test")
# what is left out
NO_TEXT, NO_IMAGE = "captions without a word", "captions of no image"
TWICE = "captions that are there twice"


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
) -> tuple[list[CaptionedImage], Counter[str]]:
    """All images of a data set, of the splits train, val and test.

    Args:
        root: folder of the data.
        captions: Karpathy's file in it.
        annotations: instead of that, COCO's annotation file of each split; without test, every other image of
            val is tested on, as COCO publishes no captions of its own test split.
        images: folder in `root` that Karpathy's file names are relative to.

    Returns:
        The images; and how many images and captions were left out, by why.

    Raises:
        InputError: a file is missing or damaged, an image is named twice, or a split is empty.
    """
    found: list[CaptionedImage] = []
    left_out: Counter[str] = Counter()
    if annotations is None:
        found = read_karpathy(root / captions, root / images, left_out)
    else:
        for split, file in annotations.items():
            folder = root / Path(file).stem.removeprefix("captions_")
            found += read_official(root / file, folder, split, left_out)
        if "test" not in annotations:
            for image in [image for image in found if image.split == "val"][1::2]:
                image.split = "test"
    _refuse_twice(found, root)
    known = [image for image in found if image.split in SPLITS]
    other = Counter(image.split for image in found if image.split not in SPLITS)
    left_out.update({f"of the unknown split {split!r}": count for split, count in other.items()})
    if missing := sorted(set(SPLITS) - {image.split for image in known}):
        has = f"; there are images of {', '.join(map(repr, other))}" if other else ""
        raise InputError(f"{root}: there are no images of split {', '.join(missing)}{has}")
    return known, left_out


def _refuse_twice(images: list[CaptionedImage], root: Path) -> None:
    paths = [os.path.normpath(image.path) for image in images]
    if len(set(paths)) < len(paths):
        twice = [path for path, count in Counter(paths).items() if count > 1]
        raise InputError(
            f"{root}: images are named twice in the caption files, {twice[0]} and {len(twice) - 1} more; "
            "were two files joined? an image belongs to one split and has all its captions in one place"
        )


def dataset_name(root: Path, files: list[str]) -> str:
    """Name of the data set of caption files: a published one, or the file's with a digest of its content.

    Your own data sets may share file names, and their images too.
    """
    stems = [Path(file).stem for file in files]
    if all(stem in PUBLISHED for stem in stems):
        return PUBLISHED[stems[0]]
    digest = hashlib.sha256(b"".join((root / file).read_bytes() for file in files)).hexdigest()[:8]
    return f"{stems[0].removeprefix('dataset_')}-{digest}"


def in_words(left_out: dict[str, int]) -> str:
    """What was left out, where anything was."""
    return ", ".join(f"{count} {why}" for why, count in left_out.items() if count)


def name_within(root: Path, path: Path) -> str:
    """The path of an image within the folder of the data; its whole path where it is elsewhere."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def read_karpathy(file: Path, images: Path, left_out: Counter[str]) -> list[CaptionedImage]:
    """Images of `dataset_coco.json`, `dataset_flickr30k.json` or `dataset_flickr8k.json`.

    Args:
        file: Karpathy's file. Its split `restval` counts as train.
        images: folder that file names (with their folder, if the file has one) are relative to.
        left_out: is told what was left out.
    """
    found = []
    for number, row in enumerate(_load(file)["images"]):
        try:
            folder = _kind(row, dict).get("filepath") or "."
            path = images / _file_name(folder) / _file_name(row["filename"])
            captions = _sentences(row["sentences"], left_out)
            split = "train" if row["split"] == "restval" else str(row["split"])
        except KeyError as error:
            raise InputError(f"{file} is not in Karpathy's format: image {number} lacks {error}") from error
        except ValueError as error:
            raise InputError(f"{file} is not in Karpathy's format: image {number}: {error}") from error
        found.append(CaptionedImage(path, _with_words(captions, left_out), split))
    return found


def _sentences(sentences: Any, left_out: Counter[str]) -> list:
    """The captions of one of Karpathy's images; a sentence with an id and text that are there is counted."""
    captions, seen = [], set()
    for sentence in _kind(sentences, list):
        caption, own = _kind(sentence, dict)["raw"], sentence.get("sentid")
        entry = repr((own, caption))
        if own is not None and entry in seen:
            left_out[TWICE] += 1
            continue
        seen.add(entry)
        captions.append(caption)
    return captions


def read_official(file: Path, images: Path, split: str, left_out: Counter[str]) -> list[CaptionedImage]:
    """Images of an annotation file such as `captions_val2017.json`, in the order of their ids.

    Args:
        file: COCO's annotation file.
        images: folder of the images.
        split: split that they belong to.
        left_out: is told what was left out.
    """
    content = _load(file)
    names: dict[int | str, str] = {}
    for number, row in enumerate(content["images"]):
        try:
            own, name = _image_id(_kind(row, dict)["id"]), _file_name(row["file_name"])
        except KeyError as error:
            raise InputError(f"{file} is no file of captions: image {number} lacks {error}") from error
        except ValueError as error:
            raise InputError(f"{file} is no file of captions: image {number}: {error}") from error
        if own in names:
            raise InputError(
                f"{file}: the image id {own} is that of {names[own]!r} and of {name!r}; were two files "
                "joined? each image needs an id of its own, and its captions that id"
            )
        names[own] = name
    captions = _captions_by_image(file, content.get("annotations"), left_out)
    left_out[NO_IMAGE] += sum(len(of_one) for own, of_one in captions.items() if own not in names)
    return [
        CaptionedImage(images / names[own], _with_words(captions.get(own, []), left_out), split)
        for own in sorted(names, key=lambda own: (isinstance(own, str), own))
    ]


def _captions_by_image(file: Path, notes: Any, left_out: Counter[str]) -> dict[int | str, list]:
    """Captions by the ids of their images; an entry with an id, image and text that are there is counted."""
    if not isinstance(notes, list):
        raise InputError(f"{file} is no file of captions: it holds no list `annotations`")
    captions: dict[int | str, list] = {}
    seen: set[str] = set()
    for number, note in enumerate(notes):
        try:
            image, caption = _image_id(_kind(note, dict)["image_id"]), note["caption"]
            entry = repr((note.get("id"), image, caption))
            if note.get("id") is not None and entry in seen:  # two people may say the same
                left_out[TWICE] += 1
                continue
            seen.add(entry)
            captions.setdefault(image, []).append(caption)
        except KeyError as error:
            raise InputError(f"{file} is no file of captions: entry {number} lacks {error}") from error
        except ValueError as error:
            raise InputError(f"{file} is no file of captions: entry {number}: {error}") from error
    return captions


def _kind(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{repr(value)[:40]} is no {'object' if kind is dict else 'list'}")
    return value


def _image_id(value: Any) -> int | str:
    """An image's id; a number in digits is that number."""
    if isinstance(value, str) and not (value.isdecimal() and str(int(value)) == value):
        return value
    return whole_number(value)


def _file_name(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError(f"{value!r} is no file name")
    os.fsencode(value)  # half of a surrogate pair is no letter of a name either
    return value


def _with_words(captions: list, left_out: Counter[str]) -> list[str]:
    """The captions that are texts with something in them; counts the others."""
    kept = [caption for caption in captions if is_text(caption) and caption.strip()]
    left_out[NO_TEXT] += len(captions) - len(kept)
    return kept


def _load(file: Path) -> dict:
    if not file.is_file():
        raise InputError(f"there is no caption file {str(file)!r}")
    try:
        found = parse_json(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"{file} is no JSON, or cut off: {error}") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    if not isinstance(found, dict) or not isinstance(found.get("images"), list):
        raise InputError(f"{file} holds no list `images`: is it a caption file?")
    return found
