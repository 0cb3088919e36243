"""Wall time of the collaboration against (LM rate x large model + small models), at several LM rates and
batch sizes.

Classes: the CKAN of `cifar_lt_cpu.yaml` and a ResNet of 4.9 M parameters, 1,024 images of 32x32 pixels; also
against a loop over single samples. Captions, with --images: the captioner of `flickr8k_recorded.yaml` and a
BLIP-2 (512 wide, four layers a part) on 1,000 images of a folder. Weights are random: they do not change the
time. Ratios of medians, all variants in one process.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.models import resnet10
from benchmarks.timing import leave, medians
from kcm_lightning.cli.process_settings import keep_freed_memory
from kcm_lightning.core.collaboration import Gates, Roles, class_predictor, collaborate
from kcm_lightning.core.confidence import caption_confidence
from kcm_lightning.core.predictions import Predictor, Query, SmallPrediction, take
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.data.image_store import shrink
from kcm_lightning.large import ImageClassifier, ImageToText, LargeModel
from kcm_lightning.small import CKAN, Captioner
from kcm_lightning.small.beam_search import generate
from kcm_lightning.utils.tokens import PADDING
from tests.large.blip2 import save_tiny_blip2

RATES = (0.2, 0.6, 0.9)
JUDGE_KEEPS = 0.5  # of what the large model is not called for


def replayed(predict: Predictor, confidence: Tensor) -> Predictor:
    """A small model at its usual cost, whose confidences are set so that the gates open as often as they
    should."""
    place = 0

    def replay(inputs: Any) -> SmallPrediction:
        nonlocal place
        found = predict(inputs)
        count = len(found.confidence)
        found.confidence = confidence[(place + torch.arange(count)) % len(confidence)]
        place = (place + count) % len(confidence)
        return found

    return replay


@torch.no_grad()
def measure(
    small: Predictor, teacher: LargeModel, batches: list[dict], rate: float, repeats: int, single: bool
) -> dict:
    """Ratios at one LM rate; the gates are fed with even random numbers, so that their shares are known."""
    samples = sum(len(batch["large"]) for batch in batches)
    generator = torch.Generator().manual_seed(0)
    by_judge, by_student = (1 - rate) * JUDGE_KEEPS, (1 - rate) * (1 - JUDGE_KEEPS)
    first = torch.rand(samples, generator=generator)
    second = torch.rand(samples, generator=generator)
    thresholds = Thresholds(1 - by_judge, 1 - by_student / (1 - by_judge))
    called = 0

    def together(parts: list[dict]) -> Callable[[], None]:
        def run() -> None:
            nonlocal called
            called = 0
            roles = Roles(replayed(small, first), replayed(small, second), teacher)
            for batch in parts:
                called += int(collaborate(batch, roles=roles, gates=Gates(thresholds)).called.sum())

        return run

    def large() -> None:
        for batch in batches:
            teacher.answer(Query(batch["large"]))

    def judge_alone() -> None:
        for batch in batches:
            small(batch["small"])

    def student_alone() -> None:  # on as many rows of each batch as the judge passes on
        place = 0
        for batch in batches:
            rows = (first[place : place + len(batch["large"])] < thresholds.judge).nonzero().squeeze(1)
            place += len(batch["large"])
            if len(rows):
                small(take(batch["small"], rows))

    variants = {"together": together(batches), "large": large, "judge": judge_alone, "student": student_alone}
    if single:
        ones = [take(batch, torch.tensor([i])) for batch in batches for i in range(len(batch["large"]))]
        variants["one by one"] = together(ones)
    times = medians(variants, repeats, warm_up=1)
    realized = called / samples
    needed = realized * times["large"] + times["judge"] + times["student"]
    row = {
        "batch": len(batches[0]["large"]),
        "lm_rate": round(realized, 3),
        "together_to_needed": times["together"] / needed,
        "together_to_large_alone": times["together"] / times["large"],
        "small_to_large": times["judge"] / times["large"],
    }
    return row | ({"one_by_one_to_together": times["one by one"] / times["together"]} if single else {})


def classes(repeats: int) -> list[dict]:
    """Images in classes."""
    torch.manual_seed(0)
    judge = CKAN(100, width=80, depths=(1, 2, 2)).eval()
    with tempfile.TemporaryDirectory() as folder:
        teacher = ImageClassifier(str(resnet10(Path(folder))))
        teacher.load([f"LABEL_{i}" for i in range(100)], torch.device("cpu"))
    images = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (1024, 3, 32, 32), dtype=np.uint8))
    rows = []
    for size, count in ((256, 1024), (1, 64)):
        batches = [{"large": part, "small": normalized(part)} for part in images[:count].split(size)]
        for rate in RATES:
            rows.append(
                {"what": "classes"}
                | measure(class_predictor(judge), teacher, batches, rate, repeats, single=size > 1)
            )
    return rows


def captions(folder: Path, repeats: int) -> list[dict]:
    """Captions of 1,000 images."""
    torch.manual_seed(0)
    captioner = Captioner(1500, width=192, channels=64, depths=(1, 1, 1)).eval()

    def predict(images: Tensor) -> SmallPrediction:
        found = generate(captioner, images, max_length=20, beams=3)
        return SmallPrediction(
            [""] * len(images), caption_confidence(found.log_probabilities, found.tokens != PADDING)
        )

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))[:1000]
    small = normalized(torch.from_numpy(np.stack([shrink(path, 96) for path in paths])))
    with tempfile.TemporaryDirectory() as place:
        teacher = ImageToText(
            str(save_tiny_blip2(Path(place), width=512, layers=4, image=112)), beams=3, max_new_tokens=12
        )
        teacher.load([], torch.device("cpu"))
    large = [str(path) for path in paths]
    batches = [{"large": large[i : i + 128], "small": small[i : i + 128]} for i in range(0, len(large), 128)]
    return [
        {"what": "captions"} | measure(predict, teacher, batches, rate, repeats, single=False)
        for rate in RATES
    ]


def normalized(images: Tensor) -> Tensor:
    return ((images.float() / 255 - 0.45) / 0.27).contiguous(memory_format=torch.channels_last)


def main() -> None:
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=Path, help="folder of images to caption")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()
    leave(captions(args.images, args.repeats) if args.images else classes(args.repeats), args.output)


if __name__ == "__main__":
    main()
