"""A whole training step of the CKAN of `cifar_lt_cpu.yaml`: eager, compiled, and its plain twin.

128 images of 32x32 pixels, bf16 autocast, forward and backward pass, gradient clipping and AdamW. With --basis, compiled steps of
other orders and grids; with --size, of other widths and depths. Ratios of medians, all variants in one process.
"""

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
from torch import nn

from benchmarks.timing import leave, medians
from kcm_lightning.process import keep_memory
from kcm_lightning.small import CKAN, CNN

SIZES = {"width": 80, "depths": (1, 2, 2), "bottleneck": 4}
BASES = {
    f"order {order}, grid {grid}": {"order": order, "grid": grid}
    for order, grid in [(3, 5), *product((1, 2, 3), (3, 5, 8, 16))]  # the usual one first: the others are measured by it
}
SIZES_TRIED = {  # those of sweeps/ckan.yaml
    "width 48, depths 1, 2, 2": {"width": 48},
    "width 32": {"width": 32},
    "width 64": {"width": 64},
    "depths 1, 1, 1": {"width": 48, "depths": (1, 1, 1)},
    "depths 2, 2, 2": {"width": 48, "depths": (2, 2, 2)},
}


def step(model: nn.Module, images: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
    """One step of training."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def once() -> None:
        with torch.autocast(images.device.type, torch.bfloat16):
            loss = nn.functional.cross_entropy(model(images).float(), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad()
        if images.is_cuda:
            torch.cuda.synchronize()

    return once


def batch(device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and their classes."""
    images = torch.randn(128, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    return images, torch.randint(0, 100, (128,), device=device)


def against_its_twin(repeats: int, device: str) -> list[dict]:
    """Eager, compiled and plain step."""
    models = {"eager": CKAN(100, **SIZES), "compiled": CKAN(100, **SIZES), "plain twin": CNN(100, **SIZES)}
    models["compiled"].compile()
    data = batch(device)
    times = medians({name: step(model.to(device), *data) for name, model in models.items()}, repeats, warm_up=2)
    row = {"device": device, "eager_to_compiled": times["eager"] / times["compiled"]}
    row["compiled_to_plain_twin"] = times["compiled"] / times["plain twin"]
    return [row | ({"compiled_ms": 1e3 * times["compiled"]} if device == "cuda" else {})]


def side_by_side(variants: dict[str, dict], repeats: int, device: str) -> list[dict]:
    """Compiled steps of several CKANs over that of the first."""
    data, steps, rows = batch(device), {}, []
    for name, options in variants.items():
        torch._dynamo.reset()
        model = CKAN(100, **SIZES | options).to(device)
        model.compile()
        steps[name] = step(model, *data)
        steps[name]()
        rows.append({"variant": name, "parameters": sum(parameter.numel() for parameter in model.parameters())})
    times = medians(steps, repeats, warm_up=1)
    return [row | {"step_to_first": times[row["variant"]] / times[next(iter(times))]} for row in rows]


def main() -> None:
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--basis", action="store_true", help="other orders and grids")
    which.add_argument("--size", action="store_true", help="other widths and depths")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.basis or args.size:
        leave(side_by_side(BASES if args.basis else SIZES_TRIED, args.repeats, device), args.output)
    else:
        leave(against_its_twin(args.repeats, device), args.output)


if __name__ == "__main__":
    main()
