"""The cache of a large model's answers: filling it against the bare model, and reading it back.

A ResNet of 4.9 M parameters, 10,000 images of 32x32 pixels in 100 classes, batches of 500; then these stored
answers, found by the content of the images. The first is a ratio of medians in one process, the second a
number of seconds to hold against a budget of 50 ms.
"""

import tempfile
from pathlib import Path

import torch

from benchmarks.models import resnet10
from benchmarks.timing import medians, run_from_shell
from kcm_lightning.core.predictions import Query
from kcm_lightning.large import ImageClassifier
from kcm_lightning.large.answer_cache import CachedClassifier

COUNT = 10_000


def measure(device: str, repeats: int) -> list[dict]:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (COUNT, 3, 32, 32), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        teacher = ImageClassifier(str(resnet10(Path(folder))))
        names = [f"LABEL_{i}" for i in range(100)]
        teacher.load(names, torch.device(device))
        places = torch.arange(COUNT)
        fresh = iter(range(10**6))

        def bare() -> None:
            for rows in places.split(500):
                teacher.distribution(Query(images[rows]))

        def filling() -> None:
            cache = CachedClassifier(teacher, str(Path(folder) / str(next(fresh))))
            cache.load(names, torch.device(device))
            for rows in places.split(500):
                cache.distribution(Query(images[rows], None, rows))

        full = CachedClassifier(teacher, str(Path(folder) / "full"))
        full.load(names, torch.device(device))
        values = torch.rand(COUNT, 100).softmax(-1).numpy().astype("<f4")
        keys = full.keys(Query(images))
        full.store({key: value.tobytes() for key, value in zip(keys, values, strict=True)})
        times = medians({"bare": bare, "filling": filling}, repeats, warm_up=1)
        read = medians(
            {"read": lambda: full.distribution(Query(images, None, places))}, 7 * repeats, warm_up=1
        )
    return [{"filling_to_bare": times["filling"] / times["bare"], "seconds_to_read_10000": read["read"]}]


if __name__ == "__main__":
    run_from_shell(__doc__, 3, measure)
