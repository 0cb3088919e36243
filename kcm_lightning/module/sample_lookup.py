"""Rows of a table by sample id."""

import torch
from torch import Tensor


class SampleLookup:
    """Rows by sample id, which may be any whole number.

    Args:
        sample_ids: shape `(N,)`, none twice.
        rows: shape `(N, ...)`.
    """

    def __init__(self, sample_ids: Tensor, rows: Tensor):
        self.sample_ids, order = sample_ids.sort()
        self.rows = rows[order]

    def __getitem__(self, sample_ids: Tensor) -> Tensor:
        return self.rows[torch.searchsorted(self.sample_ids, sample_ids)]
