"""Fitting the weights of a fusion by likelihood, shrunk towards the large model alone by cross-validation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kcm_lightning.calibrate.folds import folds_of
from kcm_lightning.core.fusion import Fusion

_PENALTIES = (0.3, 0.03, 0.0)  # of the squared weights of all but the large model, strongest first
_STEPS = 50  # of Newton's method; it takes a handful
_HALVINGS = 8  # of the interval in which a weight is looked for
_ALONE = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.double)
_SIGNED = torch.tensor([False, False, False, True])  # which weights may be below 0


@dataclass
class FittedFusion:
    """A fusion and how good it is on samples that it was not fitted on.

    Args:
        weights: fitted on all samples; None where the large model alone is as good.
        prediction: answers of the weights that were fitted without a sample's fold, or of the large model
            alone, shape `(N,)`.
        gain: accuracy of the fusion minus that of the large model alone on such samples, a fraction.
    """

    weights: Fusion | None
    prediction: Tensor
    gain: float


def fit_fusion(features: Tensor, target: Tensor, folds: int = 5) -> FittedFusion:
    """Fits the weights that make the true classes most probable.

    The weights of judge, student and class counts are drawn towards 0 by a penalty that cross-validation
    chooses. Nothing is fused where that gains no accuracy on samples that were left out, or less likelihood
    than its standard error.

    Of the weights of the class counts whose likelihood is within one standard error of the best one, the
    lowest is taken: it lifts the classes that the small models know least, at no cost that the samples can
    show.

    Args:
        features: as `fusion_features` returns them, shape `(4, N, V)`.
        target: class indices, shape `(N,)`.
        folds: parts that the samples are split into.
    """
    logits = {penalty: features.new_empty(features.shape[1:]) for penalty in (*_PENALTIES, None)}
    parts, by_part = list(folds_of(len(target), folds)), []
    for kept, held_out in parts:
        of_others, weights = features[:, kept], _ALONE
        found = {}
        for penalty in (None, *_PENALTIES):
            weights = fit_weights(of_others, target[kept], penalty=penalty, start=weights, tolerance=1e-6)
            logits[penalty][held_out] = weighted(weights, features[:, held_out])
            found[penalty] = weights
        by_part.append(found)
    loss = {penalty: _losses(own, target) for penalty, own in logits.items()}
    best = min(_PENALTIES, key=lambda penalty: loss[penalty].mean().item())
    less = loss[None] - loss[best]
    fused, alone = features.new_empty(len(target), dtype=torch.long), features[0].argmax(-1)
    for (kept, held_out), found in zip(parts, by_part, strict=True):
        evened = _evened(found[best], features[:, kept], target[kept])
        fused[held_out] = weighted(evened, features[:, held_out]).argmax(-1)
    gain = ((fused == target).double() - (alone == target).double()).mean().item()
    if gain <= 0 or less.mean() <= less.std() / len(less) ** 0.5:
        return FittedFusion(None, alone, gain)
    weights = _evened(fit_weights(features, target, penalty=best), features, target)
    return FittedFusion(Fusion(*(round(weight, 6) for weight in weights.tolist())), fused, gain)


def _evened(weights: Tensor, features: Tensor, target: Tensor) -> Tensor:
    """The lowest weight of the class counts that is as good as the fitted one; the others stay."""
    log_counts = features[3, 0]
    if not log_counts.std() > 0:  # all classes are equally frequent
        return weights
    of_models = weighted(weights[:3], features[:3])
    best = _losses(of_models + weights[3].item() * log_counts, target)
    lowest, highest = weights[3].item() - 1.0, weights[3].item()
    for _ in range(_HALVINGS):
        middle = (lowest + highest) / 2
        more = _losses(of_models + middle * log_counts, target) - best
        if more.mean() <= more.std() / len(more) ** 0.5:
            highest = middle
        else:
            lowest = middle
    return torch.cat([weights[:3], weights.new_tensor([highest])])


def fit_weights(
    features: Tensor,
    target: Tensor,
    *,
    penalty: float | None,
    start: Tensor = _ALONE,
    tolerance: float = 1e-9,
) -> Tensor:
    """Weights that minimize the mean negative log-likelihood plus `penalty / 2` times their squares.

    Newton's method, with weights that would fall below 0 held there.

    Args:
        features: see `fit_fusion`.
        target: see `fit_fusion`.
        penalty: of all weights but the large model's; None keeps them at 0.
        start: weights to begin with, shape `(4,)`.
        tolerance: a step that lowers the objective by less is the last one.

    Returns:
        Shape `(4,)`, float64.
    """
    if penalty is None:
        features, start = features[:1], start[:1]
    shrink = torch.tensor([0.0, *[penalty or 0.0] * 3], dtype=torch.double)[: len(start)] + 1e-6
    signed, weights = _SIGNED[: len(start)], start.clone()
    at_target = features[:, torch.arange(len(target)), target].double()
    loss, gradient, curvature = _derivatives(weights, features, at_target, shrink)
    for _ in range(_STEPS):
        moves = (weights > 0) | (gradient < 0) | signed
        if not moves.any() or gradient[moves].abs().max() < 1e-6:
            break
        step = torch.zeros_like(weights)
        step[moves] = torch.linalg.solve(curvature[moves][:, moves], gradient[moves])
        before = loss
        for length in (1.0, 0.5, 0.1, 0.01):
            tried = weights - length * step
            tried = torch.where(signed, tried, tried.clamp_min(0)).clamp(-100, 100)
            loss, gradient, curvature = _derivatives(tried, features, at_target, shrink)
            if loss <= before:
                break
        weights = tried
        if before - loss < tolerance:
            break
    return torch.cat([weights, _ALONE[len(weights) :]])


def weighted(weights: Tensor, features: Tensor) -> Tensor:
    """Logits of the fusion, shape `(N, V)`.

    Args:
        weights: shape `(K,)`.
        features: see `fit_fusion`, the first K of them.

    >>> weighted(torch.tensor([2.0, 1.0]), torch.tensor([[[1.0, 0.0]], [[0.0, 3.0]]])).tolist()
    [[2.0, 3.0]]
    """
    return (weights.to(features.dtype) @ features.flatten(1)).view(features.shape[1:])


def _losses(logits: Tensor, target: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits, target, reduction="none").double()


def _derivatives(
    weights: Tensor, features: Tensor, at_target: Tensor, shrink: Tensor
) -> tuple[float, Tensor, Tensor]:
    """The objective, its gradient `(K,)` and its second derivatives `(K, K)`."""
    logits, count = weighted(weights, features), len(at_target[0])
    top = logits.amax(-1, keepdim=True)
    odds = logits.sub_(top).exp_()
    total = odds.sum(-1, keepdim=True)
    probable = features * odds.div_(total)  # (K, N, V)
    expected = probable.sum(-1).double()
    fit = (top + total.log()).squeeze(-1).double() - weights @ at_target
    loss = fit.mean() + (shrink * weights**2).sum() / 2
    gradient = (expected - at_target).mean(1) + shrink * weights
    both = (probable.flatten(1) @ features.flatten(1).T).double()
    return loss.item(), gradient, (both - expected @ expected.T) / count + torch.diag(shrink)
