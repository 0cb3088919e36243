"""Fitting the learned gate: a logistic regression on whether the student's answer is right."""

import torch
from torch import Tensor

from kcm_lightning.core.learned_gate import LearnedGate
from kcm_lightning.metrics import routing_curve


def fit_gate(features: Tensor, right: Tensor, folds: int = 10) -> tuple[LearnedGate, Tensor] | None:
    """Fits the weights on all samples, and scores each sample by weights that were fitted without its fold.

    So thresholds that are chosen on the scores, and what is expected of them, are not too good to be true.

    Args:
        features: as `gate_features` returns them, shape `(N, 13)`.
        right: whether the student's answer is right, shape `(N,)`.
        folds: parts that the samples are split into.

    Returns:
        The gate, and the scores, shape `(N,)`; None where the answers of a fold are all right or all wrong.
    """
    order = torch.randperm(len(right), generator=torch.Generator().manual_seed(0))
    scores = torch.zeros(len(right))
    for held_out in order.chunk(folds):
        kept = torch.ones(len(right), dtype=torch.bool)
        kept[held_out] = False
        if (gate := _fitted(features[kept], right[kept])) is None:
            return None
        scores[held_out] = gate.score(features[held_out])
    gate = _fitted(features, right)
    return None if gate is None else (gate, scores)


def routes_better(score: Tensor, confidence: Tensor, *, student_right: Tensor, routed_right: Tensor) -> bool:
    """Whether a score sends samples on better than a confidence, in the mean over all LM rates.

    Args:
        score: shape `(N,)`.
        confidence: shape `(N,)`.
        student_right: whether the student's answer is right, shape `(N,)`.
        routed_right: whether the answer to a sample that is sent on is right, shape `(N,)`.
    """
    by_score, by_confidence = (
        routing_curve(by, student_right, routed_right)[1].mean().item() for by in (score, confidence)
    )
    return by_score > by_confidence


def _fitted(features: Tensor, right: Tensor) -> LearnedGate | None:
    """The regression, on standardized features with a penalty of 1 on its squared weights."""
    from sklearn.linear_model import LogisticRegression

    if right.all() or not right.any():
        return None
    wide = features.double()
    mean, spread = wide.mean(0), wide.std(0)
    scale = torch.where(spread > 1e-6, 1 / spread.clamp_min(1e-6), 0.0)  # a constant says nothing
    fitted = LogisticRegression(solver="newton-cholesky").fit(((wide - mean) * scale).numpy(), right.numpy())
    weights = torch.from_numpy(fitted.coef_[0]) * scale
    intercept = float(fitted.intercept_[0]) - (weights @ mean).item()
    return LearnedGate(*(round(value, 6) for value in (intercept, *weights.tolist())))
