"""Image files, their classes and splits, as folders or a table say; millions of them in little memory."""

import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kcm_lightning.data.image_store import SUFFIXES
from kcm_lightning.data.split_labels import ClassNumbers
from kcm_lightning.data.split_names import CALLED, SPLITS, UNLABELLED
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.image_io import shown
from kcm_lightning.utils.table_files import read_table

ANYWHERE = "train"  # split of what is yet to be parted


class Paths(Sequence[Path]):
    """Paths below a folder, kept as the bytes of their names.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path):
        self.root, self._names, self._ends = root, bytearray(), array("q")

    def append(self, name: str) -> None:
        self._names += os.fsencode(name)
        self._ends.append(len(self._names))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place):  # a Path, of a slice a list
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        start = self._ends[place - 1] if place else 0
        return self.root / os.fsdecode(bytes(self._names[start : self._ends[place]]))


class Listing:
    """Image files with the numbers of their classes and splits.

    Args:
        root: folder that the names are relative to.

    Attributes:
        paths: of the files.
        labels: class numbers, -1 for none.
        splits: indices into `SPLITS`.
        numbers: what `labels` stands for.
    """

    def __init__(self, root: Path):
        self.paths, self.labels, self.splits = Paths(root), array("q"), array("b")
        self.numbers = ClassNumbers()
        self._state = hashlib.sha256()

    def add(self, name: str, label: int, split: str, state: os.stat_result | None) -> None:
        self.paths.append(name)
        self.labels.append(label)
        self.splits.append(SPLITS.index(split))
        size = (state.st_size, state.st_mtime_ns) if state else ()
        self._state.update(repr((name, label, split, *size)).encode("utf-8", "surrogateescape"))

    def digest(self) -> str:
        """What tells these files, as they are now, from others."""
        return self._state.hexdigest()[:16]


def list_folder(root: Path) -> Listing:
    """The images of `train/CLASS`, perhaps `val`, `test` and `unlabelled`; or of `CLASS`, yet to be parted.

    Args:
        root: the folder.

    Raises:
        InputError: it is no such folder.
    """
    found = Listing(root)
    parts = {entry.name: CALLED.get(entry.name.lower()) for entry in _folders(root)}
    if "train" in parts.values():
        for name, split in parts.items():
            if split == "pool":
                for file, state in _images(root, name):
                    found.add(file, UNLABELLED, "pool", state)
            elif split is not None:
                _add_classes(found, root / name, f"{name}/", split)
    else:
        _add_classes(found, root, "", ANYWHERE)
    if not len(found.paths):
        raise InputError(
            f"--data.root: there are no images in {shown(root)}: it needs train/CLASS/IMAGE, or CLASS/IMAGE"
        )
    return found


def _add_classes(found: Listing, folder: Path, prefix: str, split: str) -> None:
    loose = next((file for file, _ in _images(folder, "", deep=False)), None)
    if loose is not None:
        raise InputError(
            f"--data.root: {shown(folder / loose)} is in no class's folder: it needs {prefix}CLASS/IMAGE, or "
            "a table of paths and labels"
        )
    for entry in _folders(folder):
        for file, state in _images(found.paths.root, f"{prefix}{entry.name}"):
            found.add(file, found.numbers.of(entry.name), split, state)


def _folders(folder: Path) -> list[os.DirEntry]:
    return sorted(
        (entry for entry in _entries(folder) if entry.is_dir() and not entry.name.startswith(".")),
        key=lambda entry: entry.name,
    )


def _images(root: Path, name: str, deep: bool = True) -> Iterator[tuple[str, os.stat_result]]:
    """Images in a folder below `root` and in those in it, by their names below `root`, with their states."""
    for entry in sorted(_entries(root / name), key=lambda entry: entry.name):
        below = f"{name}/{entry.name}" if name else entry.name
        if entry.is_dir(follow_symlinks=False):
            if deep:
                yield from _images(root, below)
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            yield below, entry.stat()


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InputError(f"--data.root: {shown(folder)} cannot be read: {error.strerror}") from error


def list_table(path: Path, *, column: str, label: str, split: str | None) -> Listing:
    """The images that a table names, relative to its folder.

    Args:
        path: CSV, TSV, JSON lines or Parquet.
        column: column of the path.
        label: column of the class.
        split: column of the split: train, val, test or unlabelled; None where they are yet to be parted.

    Raises:
        InputError: the table is damaged, a column is missing, or a split is none of these.
    """
    found = Listing(path.parent)
    wanted = [column, label, *([] if split is None else [split])]
    for number, row in read_table(path, "--data.root", wanted):
        name = str(row[column] or "").strip()
        if not name:
            raise InputError(f"--data.root: {path}, row {number} has no {column}")
        own = ANYWHERE if split is None else _split_of(row[split], f"--data.split: {path}, row {number}")
        try:
            state = (path.parent / name).stat()
        except OSError:
            state = None  # it is named with the damaged ones
        labelled = UNLABELLED if own == "pool" else found.numbers.of(row[label])
        found.add(name, labelled, own, state)
    if not len(found.paths):
        raise InputError(f"--data.root: {path} has no rows")
    return found


def _split_of(word: Any, where: str) -> str:
    split = CALLED.get(str(word).strip().lower())
    if split is None:
        raise InputError(f"{where}: {word!r} is none of train, val, test, unlabelled")
    return split
