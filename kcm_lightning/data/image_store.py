"""Images on disk as one array of equal size, so that training decodes nothing."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kcm_lightning.data.prepared import read_prepared, written_whole
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.image_io import open_image, shown
from kcm_lightning.utils.strict_json import parse_json

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
RULES = 2  # a folder that was made when images were read by other rules is not used
_AT_ONCE = 256


def shrink(path: Path, size: int) -> np.ndarray:
    """An image's middle square, uint8, shape `(3, size, size)`.

    Raises:
        OSError: it cannot be read; the error says why.
    """
    image = open_image(path, least=size)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    image = image.resize((size, size), box=(left, top, left + side, top + side), reducing_gap=2.0)
    return np.asarray(image).transpose(2, 0, 1)


def shrunken(paths: list[Path], size: int) -> Tensor:
    """The middle squares of images, uint8, shape `(B, 3, size, size)`.

    Raises:
        InputError: some cannot be read; they are named.
    """
    pixels, bad = [], {}
    for path in paths:
        try:
            pixels.append(torch.from_numpy(shrink(path, size).copy()))
        except OSError as error:
            bad[path] = str(error)
    if bad:
        raise InputError(missing_or_damaged(bad))
    return torch.stack(pixels)


def _shrink_and_hash(path: Path, size: int) -> tuple[np.ndarray, int, str | None]:
    """Pixels and the hash of the file; of one that cannot be read, black, 0 and why."""
    try:
        pixels = shrink(path, size)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()  # processors have instructions for it
    except OSError as error:
        return np.zeros((3, size, size), dtype=np.uint8), 0, error.strerror or str(error)
    return pixels, int.from_bytes(digest[:8]) >> 1, None


class ImageStore:
    """Images by their number, out of a folder that `ImageStore.make` has written.

    Attributes:
        bad: numbers of the images that could not be read, and why.
        contents: hash of each file, shape `(N,)`; 63 bits.

    Raises:
        InputError: the folder is damaged.
    """

    def __init__(self, folder: Path):
        with read_prepared(folder):
            facts = parse_json((folder / "facts.json").read_bytes())
            shape = (facts["images"], 3, facts["size"], facts["size"])
            self._pixels = np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="r", shape=shape)
            self.bad: dict[int, str] = {int(number): why for number, why in facts["bad"].items()}
            self.contents = torch.from_numpy(np.load(folder / "contents.npy"))

    def __getitem__(self, numbers: Tensor) -> Tensor:
        """Images, uint8, shape `(B, 3, size, size)`."""
        return torch.from_numpy(self._pixels[numbers.numpy()])

    @classmethod
    def made_once(cls, prepared: Path, recipe: list, paths: Sequence[Path], size: int) -> "ImageStore":
        """The images of some files, decoded only where they are not yet.

        Args:
            prepared: folder of what is decoded.
            recipe: what tells these files, as they are now, from others; plain values only.
            paths: the files.
            size: height and width in pixels.
        """
        told_apart = hashlib.sha256(repr([RULES, size, *recipe]).encode()).hexdigest()[:16]
        folder = prepared / f"images-{told_apart}"
        if not (folder / "facts.json").is_file():
            cls.make(folder, paths, size)
        return cls(folder)

    @staticmethod
    def make(folder: Path, paths: Sequence[Path], size: int) -> None:
        """Decodes all images once and writes the folder whole or not at all."""
        bad: dict[int, str] = {}
        contents: list[int] = []
        with written_whole(folder) as unfinished, (unfinished / "pixels.bin").open("wb") as file:
            parts = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for part in tqdm(parts, desc="images", leave=False):
                    for pixels, content, why in pool.map(lambda path: _shrink_and_hash(path, size), part):
                        if why is not None:
                            bad[len(contents)] = why
                        contents.append(content)
                        file.write(pixels.tobytes())
            np.save(unfinished / "contents.npy", np.array(contents, dtype=np.int64))
            facts = {"images": len(paths), "size": size, "bad": bad}
            (unfinished / "facts.json").write_text(json.dumps(facts))


def image_files(folder: Path, option: str) -> list[Path]:
    """The images of a folder and of those in it, by their names.

    Args:
        folder: the folder.
        option: the option that names it, for the error.

    Raises:
        InputError: there are none, or the folder cannot be read.
    """
    try:
        files = folder.rglob("*") if folder.is_dir() else ()
        paths = sorted(path for path in files if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise InputError(f"{option}: {shown(folder)} cannot be read: {error.strerror}") from error
    if not paths:
        raise InputError(f"{option}: there are no images in {str(folder)!r}")
    return paths


def missing_or_damaged(bad: dict[Path, str], then: str = "") -> str:
    """Names the first of some images, and says what is wrong with the very first.

    Args:
        bad: images that cannot be read, and why.
        then: what comes of it, or can be done.
    """
    listed = ", ".join(shown(path) for path in list(bad)[:5]) + (", ..." if len(bad) > 5 else "")
    return f"{len(bad)} images are missing or damaged: {listed}{then} (the first: {next(iter(bad.values()))})"


def state_of(path: Path) -> tuple[int, ...]:
    """Size and time of a file; nothing where there is none."""
    try:
        state = path.stat()
    except OSError:
        return ()
    return state.st_size, state.st_mtime_ns


def as_it_is_now(path: Path) -> str:
    """A file's name and state: its content may change while its name stays, and a cache has to know."""
    real = Path(os.path.realpath(path))  # `Path.resolve` raises where links lead in a circle
    return " ".join(map(str, (shown(real), *state_of(path))))
