"""A distribution over all classes, out of the tokens that a chat model could have begun its answer with."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kcm_lightning.large.base import spread
from kcm_lightning.utils.class_names import plain_name


def with_others(
    labels: Tensor,
    confidences: Tensor,
    others: Sequence[Mapping[str, float] | None],
    class_names: Sequence[str],
) -> Tensor:
    """Distributions of a model that names one class and says how probable other beginnings were.

    The named class has its confidence. A token that begins the names of other classes gives these its
    probability, in even shares; what is then left over is shared out among all others.

    Args:
        labels: class indices, negative where there is no answer, shape `(B,)`.
        confidences: fractions in [0, 1], shape `(B,)`.
        others: probabilities of the tokens at the beginning of each answer; None where they are not known.
        class_names: in the order of the labels.

    Returns:
        Shape `(B, 1, V)`, float32; NaN where there is no answer.
    """
    classes = len(class_names)
    found = spread(labels, confidences, classes)
    names = [plain_name(name) for name in class_names]
    for row, (label, tokens) in enumerate(zip(labels.tolist(), others, strict=True)):
        if label < 0 or not tokens:
            continue
        given = _given(tokens, label, names)
        rest = 1 - found[row, 0, label]
        scale = min(1.0, rest.item() / given.sum().item()) if given.sum() > 0 else 0.0
        left = (rest - scale * given.sum()).clamp_min(0) / max(1, classes - 1)
        own = scale * given + left
        # what is said first stays on top
        own = own.clamp_max(found[row, 0, label].item())
        own[label] = 1 - own.sum() + own[label]
        found[row, 0] = own
    return found


def _given(tokens: Mapping[str, float], label: int, names: Sequence[str]) -> Tensor:
    """Probability that tokens give to other classes, shape `(V,)`."""
    given = torch.zeros(len(names))
    for token, probability in tokens.items():
        beginning = plain_name(token.replace("▁", " ").replace("Ġ", " "))
        begun = [place for place, name in enumerate(names) if beginning and name.startswith(beginning)]
        if begun and label not in begun:
            given[begun] += probability / len(begun)
    return given
