"""Medians of interleaved runs, so that a disturbance meets every variant."""

import time
from collections.abc import Callable
from statistics import median


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
