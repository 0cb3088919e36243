"""Images on disk as one array of equal size, so that training decodes nothing."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from kcm_lightning.data.prepared import written_whole
from kcm_lightning.utils.image_io import open_image

_AT_ONCE = 256


def shrink(path: Path, size: int) -> np.ndarray | None:
    """An image's middle square, uint8, shape `(3, size, size)`; None where it cannot be read."""
    try:
        image = open_image(path, least=size)
    except OSError:
        return None
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    image = image.resize((size, size), box=(left, top, left + side, top + side), reducing_gap=2.0)
    return np.asarray(image).transpose(2, 0, 1)


class ImageStore:
    """Images by their number, out of a folder that `ImageStore.make` has written.

    Attributes:
        bad: numbers of the images that could not be read.
    """

    def __init__(self, folder: Path):
        facts = json.loads((folder / "facts.json").read_text())
        shape = (facts["images"], 3, facts["size"], facts["size"])
        self._pixels = np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="r", shape=shape)
        self.bad: list[int] = facts["bad"]

    def __getitem__(self, numbers: Tensor) -> Tensor:
        """Images, uint8, shape `(B, 3, size, size)`."""
        return torch.from_numpy(self._pixels[numbers.numpy()])

    @staticmethod
    def make(folder: Path, paths: list[Path], size: int) -> None:
        """Decodes all images once and writes the folder whole or not at all."""
        bad = []
        with written_whole(folder) as partial, (partial / "pixels.bin").open("wb") as file:
            parts = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for part in tqdm(parts, desc="images", leave=False):
                    for number, pixels in enumerate(
                        pool.map(lambda path: shrink(path, size), part), file.tell() // (3 * size**2)
                    ):
                        if pixels is None:
                            bad.append(number)
                            pixels = np.zeros((3, size, size), dtype=np.uint8)
                        file.write(pixels.tobytes())
            facts = {"images": len(paths), "size": size, "bad": bad}
            (partial / "facts.json").write_text(json.dumps(facts))
