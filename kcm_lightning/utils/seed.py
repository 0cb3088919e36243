"""The run's seed."""

import os

import torch


def global_seed() -> int:
    """The seed that `seed_everything` was given, 0 where it was not."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def seed_epoch(epoch: int, rank: int) -> None:
    """Makes all draws of an epoch follow from seed, epoch and process, so that a resumed run repeats them."""
    torch.manual_seed(global_seed() * 100_003 + epoch * 1_009 + rank)
