"""A whole training step of the CKAN of `cifar_lt_cpu.yaml`: eager, compiled, and its plain twin.

128 images of 32x32 pixels, bf16 autocast, forward and backward pass, gradient clipping and AdamW. With --basis, compiled steps of
other orders and grids. Ratios of medians, all variants in one process.
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


def measure(repeats: int, basis: bool) -> list[dict]:
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.randn(128, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    target = torch.randint(0, 100, (128,), device=device)

    def ckan(**options) -> nn.Module:
        return CKAN(100, **SIZES, **options).to(device)

    if not basis:
        compiled = ckan()
        compiled.compile()
        models = {"eager": ckan(), "compiled": compiled, "plain twin": CNN(100, **SIZES).to(device)}
        times = medians({name: step(model, images, target) for name, model in models.items()}, repeats, warm_up=2)
        row = {"device": device, "eager_to_compiled": times["eager"] / times["compiled"]}
        row["compiled_to_plain_twin"] = times["compiled"] / times["plain twin"]
        return [row | ({"compiled_ms": 1e3 * times["compiled"]} if device == "cuda" else {})]
    models = {}
    for order, grid in product((1, 2, 3), (3, 5, 8, 16)):
        torch._dynamo.reset()
        models[order, grid] = ckan(order=order, grid=grid)
        models[order, grid].compile()
        step(models[order, grid], images, target)()
    times = medians({str(key): step(model, images, target) for key, model in models.items()}, repeats, warm_up=1)
    shipped = times["(3, 5)"]
    return [
        {"order": order, "grid": grid, "step_to_order_3_grid_5": times[str((order, grid))] / shipped} for order, grid in models
    ]


def main() -> None:
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--basis", action="store_true", help="other orders and grids")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()
    leave(measure(args.repeats, args.basis), args.output)


if __name__ == "__main__":
    main()
