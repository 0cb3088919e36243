"""Orders of samples: nothing twice, nothing lost, and a function of seed and epoch alone."""

import pytest
import torch

from kcm_lightning.data.batches import BatchOrder


@pytest.mark.parametrize("samples, processes", [(103, 1), (103, 2), (7, 3), (8, 2)])
def test_evaluation_sees_every_sample_once(samples, processes):
    positions = torch.arange(samples) * 3
    seen = []
    for rank in range(processes):
        order = BatchOrder(positions, 10, shuffle=False, rank=rank, processes=processes)
        batches = list(order)
        assert len(batches) == len(order)
        seen += [p for batch in batches for p in batch.tolist()]
    assert sorted(seen) == positions.tolist()


def test_training_order_depends_on_seed_and_epoch_alone():
    def epoch(number, seed=0, rank=0, processes=1):
        order = BatchOrder(torch.arange(100), 8, shuffle=True, seed=seed, rank=rank, processes=processes)
        order.set_epoch(number)
        return torch.cat(list(order)).tolist()

    assert epoch(3) == epoch(3)
    assert epoch(3) != epoch(4) and epoch(3) != epoch(3, seed=1)
    assert len(set(epoch(3))) == 96  # full batches only
    parts = [epoch(3, rank=r, processes=2) for r in range(2)]
    assert len(parts[0]) == len(parts[1]) and not set(parts[0]) & set(parts[1])


def test_fewer_samples_than_a_batch_still_give_one():
    order = BatchOrder(torch.arange(5), 8, shuffle=True)
    assert len(order) == 1 and sorted(torch.cat(list(order)).tolist()) == [0, 1, 2, 3, 4]
