"""Two problems of one's own out of public data, as files that options alone can name.

Images: CIFAR-100's superclasses, ten of them, long-tailed, as JPEG files of different sizes in folders.
Texts: the category of each Amazon review, six of them, as a CSV.

python -m benchmarks.own_problems DATA FOLDER     DATA holds cifar-100-python and apd
"""

import csv
import gzip
import json
import pickle
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from kcm_lightning.data.reviews import CATEGORIES, review_file

SUPERCLASSES = (1, 2, 4, 6, 9, 10, 14, 15, 17, 18)  # in the order of their size here
LARGEST, IMBALANCE = 600, 20
TESTED = 60  # images of each class, without the tail
REVIEWS = 1_500  # of each category


def write_images(source: Path, folder: Path) -> None:
    """`train/SUPERCLASS/NUMBER.jpg` with a long tail, `val` and `test` without."""
    names = _unpickled(source / "meta")["coarse_label_names"]
    for part in ("train", "val", "test"):
        data = _unpickled(source / ("test" if part == "test" else "train"))
        labels = np.array(data["coarse_labels"])
        rng = np.random.default_rng(0)  # the same for train and val, which part one class's images
        for rank, label in enumerate(SUPERCLASSES):
            share = IMBALANCE ** (-rank / (len(SUPERCLASSES) - 1))
            rows = rng.permutation(np.flatnonzero(labels == label))
            rows = rows[: round(LARGEST * share)] if part == "train" else rows[-TESTED:]
            place = folder / part / names[label]
            place.mkdir(parents=True, exist_ok=True)
            sizes = np.random.default_rng(label).integers(32, 97, (len(rows), 2))
            for row, (width, height) in zip(rows, sizes, strict=True):
                pixels = data["data"][row].reshape(3, 32, 32).transpose(1, 2, 0)
                image = Image.fromarray(pixels).resize((int(width), int(height)), Image.Resampling.BICUBIC)
                image.save(place / f"{row}.jpg", quality=92)


def write_texts(source: Path, path: Path) -> None:
    """A CSV of `review` and `category`."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "category"])
        for category, name in CATEGORIES.items():
            found = review_file(source, category)
            assert found is not None, category
            with gzip.open(found, "rt", encoding="utf-8") as lines:
                texts = [text for line in lines if (text := json.loads(line).get("reviewText", "").strip())]
            writer.writerows([text, name] for text in texts[:REVIEWS])


def _unpickled(path: Path) -> dict:
    with path.open("rb") as file:
        return pickle.load(file, encoding="latin1")


def main() -> None:
    source, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    write_images(source / "cifar-100-python", folder / "images")
    write_texts(source / "apd", folder / "categories.csv")
    print(f"{folder / 'images'} and {folder / 'categories.csv'}")


if __name__ == "__main__":
    main()
