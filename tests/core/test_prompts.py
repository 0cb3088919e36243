"""Equation 2 in words."""

import torch

from kcm_lightning.core.prompts import fill, prune, to_bins


def test_fill():
    assert fill("a photo of a {label}.", "sweet_pepper") == "a photo of a sweet pepper."
    assert fill("a photo of a {label}.", "bear", 0.3) == "a photo of a bear with probability 0.30."
    assert (
        fill("This is a photo of a {label}", "bear", 1.0) == "This is a photo of a bear with probability 1.00"
    )


def test_bins_are_the_nearest():
    probabilities = torch.rand(100)
    centers = torch.linspace(0, 1, 11)
    nearest = (probabilities.unsqueeze(-1) - centers).abs().argmin(-1)
    assert torch.equal(to_bins(probabilities, 11), nearest)
    assert to_bins(torch.tensor([0.0, 1.0]), 11).tolist() == [0, 10]


def test_pruned_classes_have_no_probability_and_the_rest_sums_to_one():
    pruned = prune(torch.tensor([[0.5, 0.2, 0.3], [1.0, 0.0, 0.0]]), [0])
    torch.testing.assert_close(pruned, torch.tensor([[0.0, 0.4, 0.6], [0.0, 0.0, 0.0]]))
