"""Rows by sample id."""

import torch

from kcm_lightning.module.sample_lookup import SampleLookup


def test_rows_by_sample_id():
    rows = SampleLookup(torch.tensor([2**62, 5, 17]), torch.tensor([[0.0], [1.0], [2.0]]))
    assert rows[torch.tensor([17, 2**62, 5, 17])].squeeze(1).tolist() == [2, 0, 1, 2]
