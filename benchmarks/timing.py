"""Medians of interleaved runs, so that a disturbance meets every variant, and how a benchmark is run from the
shell."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from kcm_lightning.cli.process_settings import keep_freed_memory


def medians(variants: dict[str, Callable[[], None]], repeats: int, warm_up: int = 5) -> dict[str, float]:
    """Median seconds of each variant.

    Args:
        variants: what to time, by name.
        repeats: timed runs of each.
        warm_up: runs of each before that.
    """
    for run in variants.values():
        for _ in range(warm_up):
            run()
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def run_from_shell(description: str, repeats: int, measure: Callable[[str, int], list[dict]]) -> None:
    """Prints a benchmark's rows as JSON and writes them where asked to.

    Args:
        description: of the benchmark.
        repeats: by default.
        measure: makes the rows, given the device and the repeats.
    """
    keep_freed_memory()  # as every command does
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args()
    leave(measure("cuda" if torch.cuda.is_available() else "cpu", args.repeats), args.output)


def leave(rows: list[dict], output: Path | None) -> None:
    """Prints rows as JSON and writes them where asked to."""
    for row in rows:
        print(json.dumps(row))
    if output:
        output.write_text(json.dumps(rows, indent=1) + "\n")
