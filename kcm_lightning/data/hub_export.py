"""Data sets of the Hugging Face hub, or in its formats, written out as files that other data modules read."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kcm_lightning.data.prepared import written_whole
from kcm_lightning.data.split_names import CALLED
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.extras import require
from kcm_lightning.utils.files import check_path

CALLED_ON_THE_HUB = CALLED | {"training": "train", "dev": "val", "unsupervised": "pool"}
_RULES = 2  # an export that was made by other rules is not used


class HubSource:
    """A data set by its name on the hub or its local folder.

    Args:
        name: name on the hub, or folder with files in one of the hub's formats.
        config: which of the data set's configurations; None for its only one.
        columns: columns that are needed.
        prepared: folder that exports are written to.

    Raises:
        InputError: the library that reads it is not installed.
    """

    def __init__(self, name: str, config: str | None, columns: list[str], prepared: str):
        require("datasets", extra="datasets", what=f"--data.name={name}")
        for option, path in (("name", name), ("prepared", prepared)):
            check_path(f"--data.{option}", path)
        self.name, self.config, self.columns, self.prepared = name, config, columns, Path(prepared)
        self._splits: dict[str, Any] | None = None

    def splits(self) -> dict[str, Any]:
        """The data set's splits, by our names for them.

        Raises:
            InputError: it cannot be had, lacks a column, or has no training split.
        """
        if self._splits is None:
            called = CALLED_ON_THE_HUB
            self._splits = {called[name]: own for name, own in self._load().items() if name in called}
            if "train" not in self._splits:
                raise InputError(f"--data.name: {self.name!r} has no split called train")
            for split, own in self._splits.items():
                for column in self.columns:
                    if column not in own.column_names and split != "pool":
                        there = ", ".join(own.column_names)
                        raise InputError(
                            f"--data.name: {self.name!r} has no column {column!r}; it has {there}"
                        )
        return self._splits

    def _load(self) -> Mapping[str, Any]:
        import datasets

        datasets.disable_progress_bars()
        try:
            return datasets.load_dataset(self.name, self.config)
        except Exception as error:  # the library raises almost anything of damaged data or no network
            reason = " ".join(str(error).split())[:300]
            raise InputError(
                f"--data.name: {self.name!r} cannot be read, neither as a folder nor from the hub: {reason}"
            ) from error

    def folder(self, kind: str) -> Path:
        """Where the export goes, named by what it is of."""
        states = [own._fingerprint for _, own in sorted(self.splits().items())]
        told_apart = hashlib.sha256(repr([_RULES, kind, self.columns, *states]).encode()).hexdigest()[:16]
        return self.prepared / f"hub-{kind}-{told_apart}"

    def rows(self, split: str, undecoded: str | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a split; class numbers as their names, images as they were stored.

        Args:
            split: one of `splits`.
            undecoded: the column of images; None for none.
        """
        import datasets

        data = self.splits()[split]
        if undecoded is not None:
            kind = data.features[undecoded]
            if not isinstance(kind, datasets.Image) and getattr(kind, "dtype", "") not in (
                "string",
                "binary",
            ):
                raise InputError(f"--data.image: column {undecoded!r} holds no images but {kind}")
            data = data.cast_column(undecoded, datasets.Image(decode=False))
        names = {
            column: feature.int2str
            for column, feature in data.features.items()
            if isinstance(feature, datasets.ClassLabel)
        }
        for row in tqdm(data, desc=split, leave=False):
            for column, name_of in names.items():
                value = row[column]
                row[column] = None if value is None or value < 0 else name_of(value)
            yield row


def export_texts(source: HubSource, text: list[str], label: str, group: str | None) -> dict[str, Path]:
    """Writes a table for each split; returns them by split."""
    folder = source.folder("texts")
    if not folder.is_dir():
        with written_whole(folder) as partial:
            for split in source.splits():
                kept = [*text, *([] if split == "pool" else [label]), *([group] if group else [])]
                with (partial / f"{split}.jsonl").open("w", encoding="utf-8") as file:
                    for row in source.rows(split):
                        file.write(json.dumps({name: row.get(name) for name in kept}) + "\n")
    return {split: folder / f"{split}.jsonl" for split in source.splits()}


def export_images(source: HubSource, image: str, label: str) -> Path:
    """Writes the images as they were stored, and a table of paths, labels and splits; returns the table."""
    folder = source.folder("images")
    if not folder.is_dir():
        with written_whole(folder) as partial, (partial / "images.jsonl").open("w", encoding="utf-8") as file:
            for split in source.splits():
                for number, row in enumerate(source.rows(split, undecoded=image)):
                    path = _write_image(partial / split, number, row[image])
                    said = "unlabelled" if split == "pool" else split
                    line = {"path": path.relative_to(partial).as_posix(), "split": said}
                    file.write(json.dumps(line | {"label": row.get(label)}) + "\n")
    return folder / "images.jsonl"


def export_captions(source: HubSource, image: str, captions: list[str]) -> Path:
    """Writes the images, and their captions in Karpathy's format; returns the folder."""
    folder = source.folder("captions")
    if not folder.is_dir():
        with written_whole(folder) as partial:
            images = []
            for split in source.splits().keys() - {"pool"}:
                for number, row in enumerate(source.rows(split, undecoded=image)):
                    path = _write_image(partial / split, number, row[image])
                    sentences = [{"raw": caption} for caption in _captions(row, captions)]
                    name = path.relative_to(partial).as_posix()
                    images.append({"filename": name, "split": split, "sentences": sentences})
            (partial / "captions.json").write_text(json.dumps({"images": images}), encoding="utf-8")
    return folder


def _captions(row: dict[str, Any], columns: list[str]) -> list[str]:
    """The captions of a row: of columns that hold one or several."""
    values = [row[column] for column in columns]
    return [own for value in values for own in (value if isinstance(value, list) else [value]) if own]


def _write_image(folder: Path, number: int, stored: dict[str, Any]) -> Path:
    """Writes an image as it was stored, in folders of a thousand; its kind is told by its content."""
    place = folder / f"{number // 1_000:05}"
    place.mkdir(parents=True, exist_ok=True)
    content = stored["bytes"] if stored["bytes"] is not None else Path(stored["path"]).read_bytes()
    path = place / f"{number}.png"
    path.write_bytes(content)
    return path
