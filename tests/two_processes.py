"""What two processes that know of each other say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def in_two_processes(measure: Callable[[int], Any], folder: Path) -> list[Any]:
    """What `measure` returns in each of two processes, given its rank; `folder` is empty."""
    processes = [
        mp.get_context("fork").Process(target=_work, args=(measure, rank, folder)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def _work(measure: Callable[[int], Any], rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save(measure(rank), folder / f"{rank}.pt")
    dist.destroy_process_group()
