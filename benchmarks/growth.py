"""How time and memory grow: exponents fitted to three or more sizes, each measured in a process of its own.

An exponent of 1 is linear. Time is the least of a few runs, memory the peak of the process above what an
empty one of the same imports needs.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.timing import leave
from kcm_lightning.cli.process_settings import keep_freed_memory
from kcm_lightning.core.routing import Thresholds


def thresholds(samples: int) -> Callable[[], object]:
    """`calibrate` after the models have answered."""
    from kcm_lightning.calibrate.answers import ClassAnswers
    from kcm_lightning.calibrate.target import Target
    from kcm_lightning.calibrate.thresholds import choose_thresholds, expected_on_unseen

    torch.manual_seed(0)
    confidences = torch.rand(3, samples).double()
    answers = ClassAnswers(*confidences, *(torch.rand(3, samples) < 0.7))
    target = Target("accuracy_drop", 0.01)
    return lambda: (choose_thresholds(answers, target), expected_on_unseen(answers, target))


def epoch_of_judge(samples: int, classes: int = 100, width: int = 16) -> Callable[[], object]:
    """An epoch's steps of the judge, data set in memory."""
    from kcm_lightning.small import CKAN

    torch.manual_seed(0)
    images, target = (
        torch.randint(0, 256, (samples, 3, 32, 32), dtype=torch.uint8),
        torch.randint(0, classes, (samples,)),
    )
    model = CKAN(classes, width=width, depths=(1, 1))
    optimizer = torch.optim.AdamW(model.parameters())

    def run() -> None:
        for rows in torch.randperm(samples).split(64):
            loss = nn.functional.cross_entropy(model(images[rows].float() / 255), target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def collaboration(samples: int, classes: int = 100) -> Callable[[], object]:
    """`test` of a data set in batches of 256, with models that cost next to nothing, and its figures."""
    from kcm_lightning.core.collaboration import Ask, Gates, Roles, class_predictor, collaborate
    from kcm_lightning.large import LargeClassifier
    from kcm_lightning.results import gather
    from kcm_lightning.results.class_figures import summarize

    class Free(LargeClassifier):
        identity = "free"

        def load(self, class_names, device):
            pass

        def distribution(self, query):
            return query.inputs.softmax(-1).unsqueeze(1)

    torch.manual_seed(0)
    logits, target = torch.randn(samples, classes), torch.randint(0, classes, (samples,))
    small, index = class_predictor(nn.Identity()), torch.arange(samples)
    roles, gates = Roles(small, small, Free()), Gates(Thresholds(0.1, 0.05))

    def run() -> None:
        outcomes, batches = [], []
        for rows in index.split(256):
            batch = {"small": logits[rows], "large": logits[rows], "index": rows, "target": target[rows]}
            outcomes.append(collaborate(batch, roles=roles, gates=gates, ask=Ask.EVERYONE))
            batches.append({name: batch[name] for name in ("index", "target")})
        summarize(gather(outcomes, batches), torch.arange(classes) % 3, ("a", "b", "c"))

    return run


def caption_lengths(length: int) -> Callable[[], object]:
    """Beam search of 32 captions of a length, and a training step on them."""
    from kcm_lightning.small import Captioner
    from kcm_lightning.small.beam_search import generate

    torch.manual_seed(0)
    model = Captioner(1000, width=96, channels=32, depths=(1, 1))
    images, tokens = torch.randn(32, 3, 64, 64), torch.randint(4, 1000, (32, length))
    with torch.no_grad():
        model.output[-1].bias[2] = -30.0  # never ends a caption early

    def run() -> None:
        model.eval()
        generate(model, images, max_length=length, beams=3)
        model.train()
        nn.functional.cross_entropy(model(images, tokens).flatten(0, 1), tokens.flatten()).backward()

    return run


def caption_scores(images: int) -> Callable[[], object]:
    """Figures of a test with captions, tokenized by words."""
    from kcm_lightning.metrics.caption_scores import tokenize
    from kcm_lightning.metrics.image_scores import caption_curve, image_scores, score_difference

    random, words = np.random.RandomState(0), [f"w{i}" for i in range(500)]

    def caption() -> str:
        return " ".join(random.choice(words, 10))

    references = [[caption() for _ in range(5)] for _ in range(images)]
    systems = {name: [caption() for _ in range(images)] for name in ("small", "large")}

    def run() -> None:
        found = tokenize(systems, references, "words")
        small, large = (image_scores(found.systems[name], found.references) for name in ("small", "large"))
        caption_curve(torch.rand(images), small, large)
        score_difference(small, large)

    return run


CASES: dict[str, tuple[Callable[[int], Callable[[], object]], tuple[int, ...]]] = {
    "epoch of the judge, by samples": (epoch_of_judge, (512, 2048, 8192)),
    "epoch of the judge, by classes": (lambda n: epoch_of_judge(512, classes=n), (10, 100, 1000)),
    "epoch of the judge, by width": (lambda n: epoch_of_judge(256, width=n), (16, 32, 64, 128)),
    "collaboration and figures, by samples": (collaboration, (10_000, 40_000, 160_000)),
    "collaboration and figures, by classes": (lambda n: collaboration(10_000, n), (10, 100, 1000)),
    "thresholds and intervals, by samples": (thresholds, (10_000, 40_000, 160_000)),
    "captions, by length": (caption_lengths, (8, 16, 32, 64)),
    "caption scores, by images": (caption_scores, (250, 1000, 4000)),
}


def one(case: str, size: int) -> dict:
    """Seconds and MiB of one size, in this process."""
    make, sizes = CASES[case]
    make(sizes[0])()  # imports, and memory that everything needs
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = make(size)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {
        "seconds": min(times),
        "mib": max(1e-3, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024),
    }


def exponent(sizes: tuple[int, ...], values: list[float]) -> float:
    """Slope of a straight line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def measure() -> list[dict]:
    rows = []
    for case, (_, sizes) in CASES.items():
        found = []
        for size in sizes:
            words = [sys.executable, "-m", "benchmarks.growth", "--case", case, "--size", str(size)]
            found.append(json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
        seconds, mib = ([row[name] for row in found] for name in ("seconds", "mib"))
        last = np.log(seconds[-1] / seconds[-2]) / np.log(sizes[-1] / sizes[-2])
        rows.append(
            {
                "what": case,
                "sizes": list(sizes),
                "time_exponent": round(exponent(sizes, seconds), 2),
                "time_exponent_of_the_last_two": round(float(last), 2),
                "peak_mib": [round(value, 1) for value in mib],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, help="one case, with --size")
    parser.add_argument("--size", type=int)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()
    if args.case:
        print(json.dumps(one(args.case, args.size)))
    else:
        leave(measure(), args.output)


if __name__ == "__main__":
    main()
