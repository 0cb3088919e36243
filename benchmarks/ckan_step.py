"""A whole training step of the CKAN of `cifar_lt_cpu.yaml` and of its plain twin, eager and compiled.

Images of 32x32 pixels, bf16 autocast, forward and backward pass, gradient clipping and AdamW. With --basis,
compiled steps of other orders and grids; with --size, of the sweeps' widths, depths and twins. Ratios of
medians, all variants in one process.
"""

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
from torch import nn

from benchmarks.timing import leave, medians
from kcm_lightning.cli.process_settings import keep_freed_memory
from kcm_lightning.small import CKAN, CNN

CONFIGURED = {"width": 80, "depths": (1, 2, 2), "bottleneck": 4}
SWEPT = CONFIGURED | {"width": 48}
BASES = {
    f"order {order}, grid {grid}": (CKAN, CONFIGURED | {"order": order, "grid": grid})
    for order, grid in [
        (3, 5),
        *product((1, 2, 3), (3, 5, 8, 16)),
    ]  # the usual one first: the others are measured by it
}
SIZES = {  # those of sweeps/ckan.yaml, and the twins of sweeps/cifar_lt.yaml
    "width 48, depths 1, 2, 2": (CKAN, SWEPT),
    "width 32": (CKAN, SWEPT | {"width": 32}),
    "width 64": (CKAN, SWEPT | {"width": 64}),
    "depths 1, 1, 1": (CKAN, SWEPT | {"depths": (1, 1, 1)}),
    "depths 2, 2, 2": (CKAN, SWEPT | {"depths": (2, 2, 2)}),
    "order 3, grid 5": (CKAN, SWEPT | {"order": 3, "grid": 5}),
    "plain, width 48": (CNN, SWEPT),
    "plain, width 56": (CNN, SWEPT | {"width": 56}),
    "plain, width 72": (CNN, SWEPT | {"width": 72}),
}


def step(model: nn.Module, images: torch.Tensor, target: torch.Tensor) -> Callable[[], None]:
    """One step of training."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def once() -> None:
        with torch.autocast(images.device.type, torch.bfloat16):
            loss = nn.functional.cross_entropy(model(images).float(), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
        if images.is_cuda:
            torch.cuda.synchronize()

    return once


def batch(images: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and their classes."""
    pixels = torch.randn(images, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    return pixels, torch.randint(0, 100, (images,), device=device)


def against_its_twin(data: tuple[torch.Tensor, torch.Tensor], repeats: int) -> list[dict]:
    """CKAN and plain twin of equal width, eager and compiled."""
    device, steps = data[0].device.type, {}
    for name, network in (("ckan", CKAN), ("plain", CNN)):
        eager, compiled = (network(100, **CONFIGURED).to(device) for _ in range(2))
        compiled.compile()
        steps |= {f"{name} eager": step(eager, *data), f"{name} compiled": step(compiled, *data)}
    times = medians(steps, repeats, warm_up=2)
    row = {
        "device": device,
        "images": len(data[0]),
        "eager_to_compiled": times["ckan eager"] / times["ckan compiled"],
    }
    row |= {
        f"ckan_to_plain_{how}": times[f"ckan {how}"] / times[f"plain {how}"] for how in ("eager", "compiled")
    }
    return [row | ({"compiled_ms": 1e3 * times["ckan compiled"]} if device == "cuda" else {})]


def side_by_side(
    variants: dict[str, tuple[type[nn.Module], dict]], data: tuple[torch.Tensor, torch.Tensor], repeats: int
) -> list[dict]:
    """Compiled steps of several networks over that of the first."""
    steps, rows = {}, []
    for name, (network, options) in variants.items():
        model = network(100, **options).to(data[0].device)
        model.compile()
        steps[name] = step(model, *data)
        steps[name]()
        rows.append(
            {"variant": name, "parameters": sum(parameter.numel() for parameter in model.parameters())}
        )
    times = medians(steps, repeats, warm_up=1)
    return [row | {"step_to_first": times[row["variant"]] / times[next(iter(times))]} for row in rows]


def main() -> None:
    keep_freed_memory()
    torch._dynamo.config.recompile_limit = 64  # beyond its default of 8, further networks would run eagerly
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--images", type=int, default=64, help="images a step")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--basis", action="store_true", help="other orders and grids")
    which.add_argument("--size", action="store_true", help="other widths, depths, and the plain twins")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()
    torch.manual_seed(0)
    data = batch(args.images, "cuda" if torch.cuda.is_available() else "cpu")
    if args.basis or args.size:
        leave(side_by_side(BASES if args.basis else SIZES, data, args.repeats), args.output)
    else:
        leave(against_its_twin(data, args.repeats), args.output)


if __name__ == "__main__":
    main()
