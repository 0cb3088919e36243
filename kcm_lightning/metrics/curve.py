"""Accuracy against LM rate: of a confidence, of a random router, of an oracle."""

import torch
from torch import Tensor


def routing_curve(confidence: Tensor, small_right: Tensor, large_right: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy when the least confident samples go to the large model, for every LM rate.

    Args:
        confidence: of the small model, shape `(N,)`.
        small_right: whether it is right, shape `(N,)`.
        large_right: whether the large model is right, shape `(N,)`.

    Returns:
        LM rates 0, 1 / N, ..., 1 and the accuracies there, fractions, each of shape `(N + 1,)`.
    """
    gain = (large_right.double() - small_right.double())[confidence.argsort(stable=True)]
    accuracy = small_right.double().sum() + torch.cat([gain.new_zeros(1), gain.cumsum(0)])
    return torch.linspace(0, 1, len(gain) + 1, dtype=torch.double), accuracy / len(gain)


def random_accuracy(lm_rate: float, small_right: Tensor, large_right: Tensor) -> float:
    """Expected accuracy of a router that calls the large model for a random share of the samples."""
    small, large = small_right.double().mean().item(), large_right.double().mean().item()
    return (1 - lm_rate) * small + lm_rate * large


def oracle_accuracy(lm_rate: float, small_right: Tensor, large_right: Tensor) -> float:
    """Accuracy of the best possible router that calls the large model for at most a share of the samples.

    It calls where the large model is right and the small one wrong, and never the other way round.
    """
    helped = (large_right & ~small_right).sum().item()
    calls = min(helped, int(lm_rate * len(small_right) + 1e-9))
    return (small_right.sum().item() + calls) / len(small_right)
