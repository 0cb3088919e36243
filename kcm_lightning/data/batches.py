"""Which samples make up each batch: samplers whose order depends on seed and epoch alone."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class BatchOrder(Sampler[Tensor]):
    """Positions of each batch, shared out over processes without repeating a sample.

    Shuffled, the order is a function of seed and epoch alone, so that a resumed run sees what an
    uninterrupted one sees; every process gets equally many batches, at the price of the last samples of an
    epoch. Unshuffled, every sample comes exactly once; processes have equally many batches, of which some may
    be a sample shorter.

    Args:
        positions: what to draw from, shape `(N,)`.
        batch_size: samples of a batch of one process.
        shuffle: whether the order changes each epoch, and a last batch that is not full is dropped.
        seed: seed of the shuffle.
        rank: number of this process.
        processes: number of processes.
        weights: shuffled, draws with replacement and these relative frequencies, shape `(N,)`.
        same: shuffled, whether every epoch has the order of the first.
    """

    def __init__(
        self,
        positions: Tensor,
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        rank: int = 0,
        processes: int = 1,
        weights: Tensor | None = None,
        same: bool = False,
    ):
        self.same = same
        self.positions, self.batch_size, self.shuffle, self.seed = positions, batch_size, shuffle, seed
        self.rank, self.processes, self.weights, self.epoch = rank, processes, weights, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = 0 if self.same else epoch

    def __len__(self) -> int:
        if self.shuffle:
            return max(1, len(self.positions) // (self.batch_size * self.processes))
        longest = -(-len(self.positions) // self.processes)
        return -(-longest // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        own = self._own(self.positions)
        if self.shuffle:
            yield from own.split(self.batch_size)
        else:
            yield from own.tensor_split(len(self))

    def _own(self, positions: Tensor) -> Tensor:
        """What this process sees in this epoch, in its order; shuffled, whole batches alone."""
        if self.shuffle:
            generator = self._generator()
            if self.weights is None:
                positions = positions[torch.randperm(len(positions), generator=generator)]
            else:
                positions = positions[
                    self.weights.multinomial(len(positions), replacement=True, generator=generator)
                ]
            # a data set smaller than one batch still gives one
            positions = positions[: len(self) * self.batch_size * self.processes]
        return positions[self.rank :: self.processes]

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)


class LengthBuckets(BatchOrder):
    """Batches of samples that are about equally long, so that little of a batch is padding.

    Shuffled, an epoch is shuffled first, then sorted by length within stretches of 50 batches, and the
    batches are shuffled again: which samples meet still changes each epoch. Unshuffled, all samples are
    sorted by length.

    Args:
        lengths: length of each position's sample, shape `(N,)`.
        positions: see `BatchOrder`.
        batch_size: see `BatchOrder`.
        **options: the other options of `BatchOrder`.
    """

    stretch = 50

    def __init__(self, lengths: Tensor, positions: Tensor, batch_size: int, **options: Any):
        super().__init__(positions, batch_size, **options)
        self.lengths = lengths

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shuffle:
            own = self._own(self.positions[self.lengths.argsort(stable=True)])
            yield from own.tensor_split(len(self))
            return
        places = self._own(torch.arange(len(self.positions)))
        batches = []
        for part in places.split(self.stretch * self.batch_size):
            batches += self.positions[part[self.lengths[part].argsort(stable=True)]].split(self.batch_size)
        for number in torch.randperm(len(batches), generator=self._generator()).tolist():
            yield batches[number]


def batch_loader(dataset: Dataset, order: BatchOrder) -> DataLoader:
    """A loader whose batches are the data set's own, without workers: there is nothing to wait for."""
    return DataLoader(dataset, sampler=order, batch_size=None, generator=torch.Generator())
