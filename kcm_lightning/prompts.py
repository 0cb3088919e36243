"""Equation 2: a small model's confidence, put into the words that a large model reads."""

from torch import Tensor

PLAIN = "This is a photo of a {label}"


def to_bins(probabilities: Tensor, bins: int) -> Tensor:
    """Nearest of `bins` equally spaced probabilities 0, 1 / (bins - 1), ..., 1.

    A prompt with a probability in bins is one of few, so that all of them can be encoded beforehand.

    Args:
        probabilities: fractions in [0, 1], any shape.
        bins: how many, at least 2.

    Returns:
        Bin indices from 0 to `bins - 1`, the same shape.
    """
    return (probabilities * (bins - 1)).round().long().clamp_(0, bins - 1)


def fill(template: str, label: str, probability: float | None = None) -> str:
    """A class's prompt, which ends in the small model's probability of the class where one is given.

    Args:
        template: with `{label}`.
        label: class name; underscores are read as spaces.
        probability: fraction in [0, 1], stated in two digits before a closing full stop.
    """
    text = template.format(label=label.replace("_", " "))
    if probability is None:
        return text
    stop = "." if text.endswith(".") else ""
    return f"{text.removesuffix('.')} with probability {probability:.2f}{stop}"


def prune(probabilities: Tensor, classes: list[int]) -> Tensor:
    """Probabilities without the classes that the small model is good at ("prompt pruning"), renormalised.

    Args:
        probabilities: shape `(B, V)`.
        classes: class indices that are struck out.

    Returns:
        Shape `(B, V)`.
    """
    if not classes:
        return probabilities
    kept = probabilities.clone()
    kept[:, classes] = 0
    return kept / kept.sum(-1, keepdim=True).clamp_min(1e-12)
