"""LM rate and region accuracy over two processes with ragged parts equal those of one."""

import pytest
import torch
import torch.distributed as dist

from kcm_lightning.data.batches import BatchOrder
from kcm_lightning.metrics import LMRate, RegionAccuracy
from tests.two_processes import in_two_processes

SAMPLES, REGIONS = 103, torch.tensor([0, 0, 1, 2])


def answers() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    prediction, target = (torch.randint(0, 4, (SAMPLES,), generator=generator) for _ in range(2))
    called = torch.rand(SAMPLES, generator=generator) < 0.6
    return prediction, target, called


def measure(rank: int, processes: int) -> dict[str, float]:
    prediction, target, called = answers()
    rate, accuracy = LMRate(), RegionAccuracy(REGIONS)
    for rows in BatchOrder(torch.arange(SAMPLES), 10, shuffle=False, rank=rank, processes=processes):
        rate.update(called[rows], called[rows] & (prediction[rows] > 0))
        accuracy.update(prediction[rows], target[rows])
    return {name: value.item() for name, value in (rate.compute() | accuracy.compute()).items()}


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_two_processes_equal_one(tmp_path):
    parts = in_two_processes(lambda rank: measure(rank, 2), tmp_path)
    assert parts[0] == parts[1] == pytest.approx(measure(0, 1))
