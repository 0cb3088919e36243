"""Accuracy of routers against their LM rate: by confidence, the random router, the oracle router."""

import torch
from torch import Tensor


def routing_curve(confidence: Tensor, small_right: Tensor, large_right: Tensor) -> tuple[Tensor, Tensor]:
    """Accuracy when the least confident samples go to the large model, for every LM rate.

    Args:
        confidence: confidence of the small model, shape `(N,)`.
        small_right: whether it is right, shape `(N,)`.
        large_right: whether the large model is right, shape `(N,)`.

    Returns:
        LM rates 0, 1 / N, ..., 1 and the accuracies there, fractions, each of shape `(N + 1,)`.

    >>> confidence = torch.tensor([0.9, 0.2])
    >>> rates, accuracy = routing_curve(confidence, torch.tensor([True, False]), torch.tensor([False, True]))
    >>> rates.tolist(), accuracy.tolist()
    ([0.0, 0.5, 1.0], [0.5, 1.0, 0.5])
    """
    gain = (large_right.double() - small_right.double())[confidence.argsort(stable=True)]
    accuracy = small_right.double().sum() + torch.cat([gain.new_zeros(1), gain.cumsum(0)])
    return torch.linspace(0, 1, len(gain) + 1, dtype=torch.double), accuracy / len(gain)


def random_accuracy(lm_rate: float, small_right: Tensor, large_right: Tensor) -> float:
    """Expected accuracy of a router that calls the large model for a random share of the samples.

    Args:
        lm_rate: the share, a fraction in [0, 1].
        small_right: whether the small model is right, shape `(N,)`.
        large_right: whether the large model is right, shape `(N,)`.

    >>> random_accuracy(0.5, torch.tensor([True, False]), torch.tensor([True, True]))
    0.75
    """
    small, large = small_right.double().mean().item(), large_right.double().mean().item()
    return (1 - lm_rate) * small + lm_rate * large


def oracle_accuracy(lm_rate: float, small_right: Tensor, large_right: Tensor) -> float:
    """Accuracy of the best possible router that calls the large model for at most a share of the samples.

    It calls where the large model is right and the small one wrong, and never the other way round.

    Args:
        lm_rate: the share, a fraction in [0, 1].
        small_right: whether the small model is right, shape `(N,)`.
        large_right: whether the large model is right, shape `(N,)`.

    >>> oracle_accuracy(0.5, torch.tensor([True, False]), torch.tensor([True, True]))
    1.0
    """
    helped = (large_right & ~small_right).sum().item()
    calls = min(helped, int(lm_rate * len(small_right) + 1e-9))
    return (small_right.sum().item() + calls) / len(small_right)


def against_random(
    right: Tensor, called: Tensor, small_right: Tensor, large_right: Tensor, quantile: float = 1.96
) -> dict[str, float]:
    """Difference in accuracy of a router and a random one of the same LM rate, with its interval.

    The interval is that of the normal distribution: each sample's share in the difference, the LM rate's own
    variation among it (delta method), has a standard error.

    Args:
        right: whether the router's answer is right, shape `(N,)`.
        called: whether it called the large model, shape `(N,)`.
        small_right: whether the small model is right, shape `(N,)`.
        large_right: whether the large model is right, shape `(N,)`.
        quantile: of the normal distribution; 1.96, the default, makes 95 % intervals.

    Returns:
        `difference`, `low` and `high`, fractions.

    >>> every, none = torch.tensor([True, True]), torch.tensor([False, False])
    >>> against_random(every, torch.tensor([True, False]), none, every)["difference"]
    0.5
    """
    rate = called.double().mean()
    gain = large_right.double() - small_right.double()
    each = right.double() - small_right.double() - rate * gain - gain.mean() * (called.double() - rate)
    difference = each.mean().item()
    margin = quantile * (each.var(correction=0) / len(each)).sqrt().item()
    return {"difference": difference, "low": difference - margin, "high": difference + margin}
