"""Fitting the learned gates: logistic regressions whose scores of a sample have not seen its answer."""

from typing import TypeVar

import torch
from torch import Tensor

from kcm_lightning.calibrate.folds import folds_of
from kcm_lightning.core.regression import Regression

_PENALTY = 10.0  # of the squared weights, in samples: features of one model say much the same

Kind = TypeVar("Kind", bound=Regression)


def fit_gate(
    kind: type[Kind], features: Tensor, event: Tensor, weights: Tensor | None = None, folds: int = 10
) -> tuple[Kind, Tensor] | None:
    """Fits a regression on all samples, and scores each sample by one that was fitted without its fold.

    So thresholds that are chosen on the scores, and what is expected of them, are not too good to be true.

    Args:
        kind: class of the weights.
        features: what they are of, shape `(N, F)`.
        event: what is to be foreseen, as that the student's answer is right, shape `(N,)`.
        weights: how much each sample counts, shape `(N,)`; None for equally much.
        folds: parts that the samples are split into.

    Returns:
        The regression, and the scores, shape `(N,)`; None where the event is certain in a fold.
    """
    counted = torch.ones(len(event)) if weights is None else weights
    scores = torch.zeros(len(event))
    for kept, held_out in folds_of(len(event), folds):
        if (fitted := _fitted(kind, features[kept], event[kept], counted[kept])) is None:
            return None
        scores[held_out] = fitted.score(features[held_out])
    fitted = _fitted(kind, features, event, counted)
    return None if fitted is None else (fitted, scores)


def _fitted(kind: type[Kind], features: Tensor, event: Tensor, weights: Tensor) -> Kind | None:
    """The regression, on standardized features."""
    from sklearn.linear_model import LogisticRegression

    if event.all() or not event.any():
        return None
    wide = features.double()
    mean, spread = wide.mean(0), wide.std(0, correction=0)
    scale = torch.where(spread > 1e-6, 1 / spread.clamp_min(1e-6), 0.0)  # a constant says nothing
    fitted = LogisticRegression(C=1 / _PENALTY, solver="newton-cholesky").fit(
        ((wide - mean) * scale).numpy(), event.numpy(), sample_weight=weights.double().numpy()
    )
    found = torch.from_numpy(fitted.coef_[0]) * scale
    intercept = float(fitted.intercept_[0]) - (found @ mean).item()
    return kind(*(round(value, 6) for value in (intercept, *found.tolist())))
