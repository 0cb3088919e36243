"""Does compiling pay? A training step of each shipped kind of small model, eager and compiled.

Batches, widths and lengths of the shipped configurations, bf16 autocast, forward and backward pass; three
lengths of texts and of captions in turn, as batches of like length bring them. `first_steps` is what
compiling costs before it gains, in eager steps. Ratios of medians, all in one process.
"""

import time
from collections.abc import Callable
from itertools import cycle

import torch
from torch import nn

from benchmarks.timing import medians, run_from_shell
from kcm_lightning.small import CKAN, TKAN, Captioner


def images(size: int, batch: int) -> list[tuple[torch.Tensor, ...]]:
    return [(torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last),)]


def texts(lengths: tuple[int, ...], batch: int) -> list[tuple[torch.Tensor, ...]]:
    return [(torch.randint(1, 30_522, (batch, length)),) for length in lengths]


def captions(lengths: tuple[int, ...], batch: int) -> list[tuple[torch.Tensor, ...]]:
    (inputs,) = images(96, batch)[0]
    return [(inputs, torch.randint(4, 1_500, (batch, length))) for length in lengths]


CASES: dict[str, tuple[Callable[[], nn.Module], list[tuple[torch.Tensor, ...]]]] = {
    "CKAN, CIFAR": (lambda: CKAN(100, width=80), images(32, 64)),
    "TKAN, reviews": (lambda: TKAN(), texts((40, 90, 160), 64)),
    "captioner": (lambda: Captioner(1_500, width=192), captions((9, 12, 16), 32)),
}


def step(model: nn.Module, batches: list[tuple[torch.Tensor, ...]], device: str) -> Callable[[], None]:
    turns = cycle(batches)

    def once() -> None:
        with torch.autocast(device, torch.bfloat16):
            loss = model(*next(turns)).float().square().mean()
        loss.backward()
        model.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    return once


def measure(device: str, repeats: int) -> list[dict]:
    rows = []
    for name, (make, batches) in CASES.items():
        torch._dynamo.reset()
        torch.manual_seed(0)
        eager, compiled = make().to(device), make().to(device)
        batches = [tuple(own.to(device) for own in batch) for batch in batches]
        compiled.compile()
        steps = {"eager": step(eager, batches, device), "compiled": step(compiled, batches, device)}
        start = time.perf_counter()
        for _ in range(2 * len(batches)):
            steps["compiled"]()
        first = time.perf_counter() - start
        times = medians(steps, repeats, warm_up=len(batches))
        gain = times["eager"] / times["compiled"]
        rows.append({"model": name, "eager_to_compiled": gain, "first_steps": first / times["eager"]})
    return rows


if __name__ == "__main__":
    run_from_shell(__doc__, 15, measure)
