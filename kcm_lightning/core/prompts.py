"""Equation 2: a small model's confidence, put into the words that a large model reads."""

from collections.abc import Iterable
from string import Formatter

from torch import Tensor

from kcm_lightning.utils.errors import InputError

BINS = 11  # probabilities that a sentence can state: 0, 0.1, ..., 1
PLAIN_PROMPT = "This is a photo of a {label}"


def to_bins(probabilities: Tensor, bins: int) -> Tensor:
    """Nearest of `bins` equally spaced probabilities 0, 1 / (bins - 1), ..., 1.

    A prompt with a binned probability is one of few, so that all of them can be encoded beforehand.

    Args:
        probabilities: fractions in [0, 1], any shape.
        bins: number of probabilities, at least 2.

    Returns:
        Bin indices from 0 to `bins - 1`, the same shape.

    >>> import torch
    >>> to_bins(torch.tensor([0.0, 0.52, 1.0]), bins=11).tolist()
    [0, 5, 10]
    """
    return (probabilities * (bins - 1)).round().long().clamp_(0, bins - 1)


def class_prompt(template: str, label: str, probability: float | None = None) -> str:
    """A class's prompt, which ends in the small model's probability of the class where one is given.

    Args:
        template: with `{label}`.
        label: class name; underscores are read as spaces.
        probability: fraction in [0, 1], stated in two digits before a closing full stop.

    >>> class_prompt("a photo of a {label}.", "aquarium_fish", 0.5)
    'a photo of a aquarium fish with probability 0.50.'
    """
    text = template.format(label=label.replace("_", " "))
    if probability is None:
        return text
    stop = "." if text.endswith(".") else ""
    return f"{text.removesuffix('.')} with probability {probability:.2f}{stop}"


def fill_hint(template: str, class_names: list[str], hint: Tensor, bins: int, **fields: str) -> str:
    """A template with a small model's answer and its confidence in words (equation 2).

    Args:
        template: with `{label}`, `{probability}` and the names of `fields`.
        class_names: in the order of the labels.
        hint: the small model's probabilities, shape `(V,)`.
        bins: equally spaced probabilities that can be stated.
        **fields: what else to fill in.

    >>> import torch
    >>> believed = torch.tensor([0.1, 0.9])
    >>> fill_hint("It may be {label} ({probability:.0%}).", ["bad", "good"], believed, bins=11)
    'It may be good (90%).'
    """
    confidence, label = hint.max(-1)
    probability = to_bins(confidence, bins).item() / (bins - 1)
    return template.format(label=class_names[int(label)], probability=probability, **fields)


def check_template(
    template: str, fields: tuple[str, ...], option: str, optional: tuple[str, ...] = ("label", "probability")
) -> None:
    """Refuses a template that lacks a field or has an unknown one.

    Args:
        template: with fields in braces.
        fields: names of the fields that it must have.
        option: the option of the configuration that holds it.
        optional: names of the fields that it may have as well.

    Raises:
        InputError: it cannot be filled, or a field is missing.
    """
    try:
        used = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        template.format(**{name: 0.5 if name == "probability" else "x" for name in used})
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(f"{option} cannot be filled: {error}") from error
    if not set(fields) <= used <= {*fields, *optional}:
        must = [f"must contain {_braced(fields)}"] if fields else []
        may = [f"may contain {_braced(optional)}"] if optional else ["no other field"]
        raise InputError(f"{option} {' and '.join(must + may)}")


def _braced(names: Iterable[str]) -> str:
    return " and ".join(f"{{{name}}}" for name in names)
