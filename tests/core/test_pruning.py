"""Classes that are left to the others."""

import torch

from kcm_lightning.core.pruning import Pruning, pruned, without_classes


def test_pruned_classes_have_no_probability_and_the_rest_sums_to_one():
    kept = without_classes(torch.tensor([[0.5, 0.2, 0.3], [1.0, 0.0, 0.0]]), [0])
    torch.testing.assert_close(kept, torch.tensor([[0.0, 0.4, 0.6], [0.0, 0.0, 0.0]]))


def test_masking_takes_classes_out_and_zeroing_raises_negative_ones():
    logits = torch.tensor([[2.0, -3.0, 1.0]])
    assert pruned(logits, Pruning([0, 1])).tolist() == [[float("-inf"), float("-inf"), 1.0]]
    assert pruned(logits, Pruning([0, 1], "zero")).tolist() == [[0.0, 0.0, 1.0]]
    assert pruned(logits, None) is logits and logits.tolist() == [[2.0, -3.0, 1.0]]
