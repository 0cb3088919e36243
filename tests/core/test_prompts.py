"""Equation 2 in words."""

import torch

from kcm_lightning.core.prompts import class_prompt, to_bins


def test_class_prompts():
    assert class_prompt("a photo of a {label}.", "sweet_pepper") == "a photo of a sweet pepper."
    assert class_prompt("a photo of a {label}.", "bear", 0.3) == "a photo of a bear with probability 0.30."
    assert (
        class_prompt("This is a photo of a {label}", "bear", 1.0)
        == "This is a photo of a bear with probability 1.00"
    )


def test_bins_are_the_nearest():
    probabilities = torch.rand(100)
    centers = torch.linspace(0, 1, 11)
    nearest = (probabilities.unsqueeze(-1) - centers).abs().argmin(-1)
    assert torch.equal(to_bins(probabilities, 11), nearest)
    assert to_bins(torch.tensor([0.0, 1.0]), 11).tolist() == [0, 10]
