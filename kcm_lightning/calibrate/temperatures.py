"""Fitting a temperature, so that a confidence is a probability of being right."""

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy


def fit_temperature(logits: Tensor, target: Tensor) -> float:
    """Temperature that minimizes the negative log-likelihood (Guo et al. 2017).

    Args:
        logits: shape `(N, V)`.
        target: class indices, shape `(N,)`.

    Returns:
        A positive number, within [0.05, 20]; 1 where there is nothing to fit.

    >>> logits = torch.tensor([[2.0, 0.0]] * 4)  # certain by 88 %, right in 3 of 4 cases
    >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 2)
    1.82
    """
    if not len(target):
        return 1.0
    logits = logits.double()

    def loss(log_temperature: float) -> float:
        return cross_entropy(logits / 2.0**log_temperature, target).item()

    bound = float(torch.log2(torch.tensor(20.0)))
    return float(2.0 ** minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x)
