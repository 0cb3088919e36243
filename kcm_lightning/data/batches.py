"""Batches out of one tensor, and samplers whose order depends on seed and epoch alone."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class ImageBatches(Dataset):
    """Whole batches of images by a list of positions, with no loop over samples.

    Args:
        images: uint8, shape `(N, C, H, W)`.
        labels: shape `(N,)`.
    """

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels = images, labels

    def __getitem__(self, positions: Tensor) -> dict[str, Tensor]:
        return {"large": self.images[positions], "target": self.labels[positions], "index": positions}


class BatchOrder(Sampler[Tensor]):
    """Positions of each batch, shared out over processes without repeating a sample.

    Shuffled, the order is a function of seed and epoch alone, so that a resumed run sees what an uninterrupted
    one sees; every process gets equally many batches, at the price of the last samples of an epoch. Unshuffled,
    every sample comes exactly once; processes have equally many batches, of which some may be a sample shorter.

    Args:
        positions: what to draw from, shape `(N,)`.
        batch_size: of one process.
        shuffle: whether the order changes each epoch, and a last batch that is not full is dropped.
        seed: of the shuffle.
        rank: number of this process.
        processes: how many there are.
        weights: shuffled, draws with replacement and these relative frequencies, shape `(N,)`.
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
    ):
        self.positions, self.batch_size, self.shuffle, self.seed = positions, batch_size, shuffle, seed
        self.rank, self.processes, self.weights, self.epoch = rank, processes, weights, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        if self.shuffle:
            return max(1, len(self.positions) // (self.batch_size * self.processes))
        longest = -(-len(self.positions) // self.processes)
        return -(-longest // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        positions = self.positions
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
            if self.weights is None:
                positions = positions[torch.randperm(len(positions), generator=generator)]
            else:
                positions = positions[self.weights.multinomial(len(positions), replacement=True, generator=generator)]
            # a data set smaller than one batch still gives one
            positions = positions[: len(self) * self.batch_size * self.processes]
            yield from positions[self.rank :: self.processes].split(self.batch_size)
        else:
            yield from positions[self.rank :: self.processes].tensor_split(len(self))


def batch_loader(dataset: ImageBatches, order: BatchOrder) -> DataLoader:
    """A loader whose batches are the data set's own, without workers: there is nothing to wait for."""
    return DataLoader(dataset, sampler=order, batch_size=None, generator=torch.Generator())
