"""What a computation takes on this machine: FLOPs, time, energy."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

_POWERCAP = Path("/sys/class/powercap")
_LONGEST = 5.0  # seconds that a measurement may go on after its first run
_RUNS = 5


@dataclass
class Effort:
    """What a computation takes for each sample.

    Args:
        flops: floating-point operations of products, convolutions and attention, as torch counts them.
        milliseconds: median time of runs on one batch.
        joules: energy of the processor's packages in that time; None where the machine does not tell it.
    """

    flops: float
    milliseconds: float
    joules: float | None


def effort_of(compute: Callable[[], Any], samples: int) -> Effort:
    """Measures a computation.

    Args:
        compute: runs it once, on the device that is in use.
        samples: how many samples a run is for.

    >>> layer, batch = torch.nn.Linear(10, 3), torch.zeros(2, 10)
    >>> effort_of(lambda: layer(batch), samples=2).flops  # a product and a sum for each weight
    60.0
    """
    with _without_autocast(), FlopCounterMode(display=False) as counter:
        compute()  # also warms up
    seconds: list[float] = []
    before, start = _joules(), time.perf_counter()
    while not seconds or (len(seconds) < _RUNS and time.perf_counter() - start < _LONGEST):
        began = time.perf_counter()
        compute()
        _wait()
        seconds.append(time.perf_counter() - began)
    after = _joules()
    return Effort(
        flops=counter.get_total_flops() / samples,
        milliseconds=1000 * statistics.median(seconds) / samples,
        joules=None if before is None or after is None else (after - before) / len(seconds) / samples,
    )


@contextmanager
def _without_autocast() -> Iterator[None]:
    """The counter takes a GRU apart below autocast, which then no longer casts its weights."""
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _joules(folder: Path | None = None) -> float | None:
    """Reading of the energy counters of all processor packages; None where there is none to be read."""
    domains = [domain / "energy_uj" for domain in sorted((folder or _POWERCAP).glob("intel-rapl:?"))]
    try:
        return sum(int(file.read_text()) for file in domains) / 1e6 if domains else None
    except (OSError, ValueError):  # only the administrator may read them on most machines
        return None
