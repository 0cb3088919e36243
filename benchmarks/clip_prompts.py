"""CLIP with probability prompts against plain CLIP, per image, and the encoding of the prompts beforehand.

A random ViT-B/32, 100 classes, 18 templates, 11 probabilities, batches of 32 images. Also against encoding
the prompts anew for each image, as prompts that state probabilities as they are would need. Ratios of
medians, all variants in one process.
"""

import tempfile
import time
from pathlib import Path

import torch

from benchmarks.timing import medians, run_from_shell
from kcm_lightning.core.predictions import Query
from kcm_lightning.core.prompts import BINS
from kcm_lightning.large import CLIP
from tests.large.clip import save_clip

CLASSES = [f"class{i % 10}" for i in range(100)]


def measure(device: str, repeats: int) -> list[dict]:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (32, 3, 32, 32), dtype=torch.uint8, device=device)
    hint = torch.rand(32, 100, device=device).softmax(-1)
    with tempfile.TemporaryDirectory() as folder:
        save_clip(Path(folder), full=True)
        plain, stated = CLIP(folder), CLIP(folder, probability_bins=BINS)
        plain.load(CLASSES, torch.device(device))
        start = time.perf_counter()
        stated.load(CLASSES, torch.device(device))
        loading = time.perf_counter() - start
        single = CLIP(folder, templates="single")
        single.load(CLASSES, torch.device(device))
        variants = {
            "plain": lambda: plain.distribution(Query(images)),
            "stated": lambda: stated.distribution(Query(images, hint)),
            "one image's 100 prompts": lambda: single._encode_prompts(CLASSES),
        }
        times = medians(variants, repeats, warm_up=1)
    return [
        {
            "stated_to_plain": times["stated"] / times["plain"],
            "encoding_anew_to_plain_per_image": 1 + 32 * times["one image's 100 prompts"] / times["plain"],
            "encoding_once_in_images": loading / (times["plain"] / 32),
        }
    ]


if __name__ == "__main__":
    run_from_shell(__doc__, 9, measure)
