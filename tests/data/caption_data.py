"""A small captioned data set: images of one color each, whose captions name it."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "white": (240, 240, 240)}


def write_odd(folder: Path) -> None:
    """Images that trip readers, in a folder that exists: one cut off, the others whole but odd."""
    random, truncated = np.random.RandomState(0), folder / "truncated.jpg"
    Image.fromarray(random.randint(0, 255, (200, 300, 3), dtype=np.uint8)).save(truncated)
    truncated.write_bytes(truncated.read_bytes()[:5_000])
    Image.fromarray(np.full((20, 20, 4), (255, 0, 0, 0), dtype=np.uint8), "RGBA").save(folder / "alpha.png")
    Image.new("CMYK", (30, 20), (0, 255, 255, 0)).save(folder / "cmyk.jpg")
    Image.new("RGB", (1, 1), "blue").save(folder / "dot.png")
    Image.new("RGB", (20_000, 30), "green").save(folder / "wide.png")


def write(folder: Path, train: int = 32, val: int = 12, test: int = 12) -> Path:
    """Writes `dataset_tiny.json` in Karpathy's format and the images in `images`."""
    (folder / "images").mkdir(parents=True)
    random, rows = np.random.RandomState(0), []
    for number in range(train + val + test):
        color = list(COLOURS)[number % 4]
        name = f"{number:03}.jpg"
        pixels = np.clip(np.array(COLOURS[color]) + random.randint(-15, 15, (40, 50, 3)), 0, 255).astype(
            np.uint8
        )
        Image.fromarray(pixels).save(folder / "images" / name, quality=95)
        split = "train" if number < train else "val" if number < train + val else "test"
        captions = [
            f"A {color} wall is all there is.",
            f"the picture shows a {color} wall",
            f"this wall is {color} all over",
        ]
        rows.append(
            {"filename": name, "split": split, "sentences": [{"raw": caption} for caption in captions]}
        )
    (folder / "dataset_tiny.json").write_text(json.dumps({"images": rows, "dataset": "tiny"}))
    return folder
