"""Parts of the validation samples: fitted or chosen on all but one, looked at on that one."""

from collections.abc import Iterator

import torch
from torch import Tensor


def folds_of(count: int, folds: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Splits samples at random, always in the same way.

    Args:
        count: number of samples, N.
        folds: number of parts.

    Yields:
        For each part the samples that are not in it, booleans of shape `(N,)`, and the indices of its own.

    >>> [len(held_out) for _, held_out in folds_of(5, folds=2)]
    [3, 2]
    """
    for held_out in torch.randperm(count, generator=torch.Generator().manual_seed(0)).chunk(folds):
        kept = torch.ones(count, dtype=torch.bool)
        kept[held_out] = False
        yield kept, held_out
