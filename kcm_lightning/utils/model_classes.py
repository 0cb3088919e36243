"""Which outputs of a classifier stand for which of the data's classes; it may know more than these."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from kcm_lightning.utils.class_names import Labels, class_order, finder, place_of, shortened
from kcm_lightning.utils.errors import InputError

NONE = -1  # of the data's classes


def data_classes(own: Sequence[Any], wanted: Sequence[str], *, labels: Labels, option: str) -> list[int]:
    """For each of a model's classes, which of the data's it is; -1 for none.

    A model of as many classes has each of the data's: see `class_order`. One of more classes must have each
    by name, or by a map, which may give several of its classes to one of the data's.

    Args:
        own: the model's class names, in the order of its outputs.
        wanted: the data's class names.
        labels: "by_name", "by_position", or the data's names by the model's own.
        option: the option that holds `labels`.

    Raises:
        InputError: a class of the data is none of the model's, or none is; the message lists them.

    >>> data_classes(["cat", "dog", "emu"], ["Dog", "cat"], labels="by_name", option="--labels")
    [1, 0, -1]
    """
    if len(own) == len(wanted):
        found = [NONE] * len(own)
        for label, place in enumerate(class_order(own, wanted, labels=labels, option=option)):
            found[place] = label
        return found
    if labels == "by_position":
        raise InputError(
            f"{option}=by_position: the model knows {len(own)} classes, the data has {len(wanted)}"
        )
    names = [str(name) for name in wanted]
    find = finder(names)
    places = [find(name) for name in own]
    found = [NONE if place is None else place for place in places]
    if isinstance(labels, Mapping):
        _map(found, own, names, labels, option)
    missing = [name for label, name in enumerate(names) if label not in found]
    if missing:
        raise InputError(_missing(own, names, missing, option))
    if not isinstance(labels, Mapping):
        rank_zero_warn(
            f"the model knows {len(own)} classes, the data's {len(names)} by name among them: the "
            "probability of the others is shared out"
        )
    return found


def _map(
    found: list[int], own: Sequence[Any], names: list[str], labels: Mapping[str, str], option: str
) -> None:
    """Adds what a user's map says."""
    for model_name, name in labels.items():
        place = place_of(model_name, own, "the model's", option)
        found[place] = place_of(name, names, "the data's", option)


def _missing(own: Sequence[Any], names: list[str], missing: list[str], option: str) -> str:
    near = [match for name in missing for match in get_close_matches(name, list(map(str, own)), n=1)]
    example = near[0] if near else str(own[0])
    return (
        f"{option}: {len(missing)} of the data's {len(names)} classes are none of the model's {len(own)} by "
        f"name ({shortened(missing)}): map one or more of its classes to each, for instance "
        f"""{option}='{{"{example}": "{missing[0]}"}}'"""
    )


def on_data_classes(probabilities: Tensor, places: Tensor, classes: int) -> Tensor:
    """A model's probabilities on the data's classes: of one that has several the sum, then renormalized.

    Args:
        probabilities: of the model's classes, shape `(B, M)`.
        places: class of the data of each of them, -1 for none, shape `(M,)`.
        classes: number of the data's classes V.

    Returns:
        Shape `(B, V)`.

    >>> on_data_classes(torch.tensor([[0.2, 0.1, 0.1, 0.6]]), torch.tensor([1, 0, 1, -1]), classes=2)
    tensor([[0.2500, 0.7500]])
    """
    kept = (places != NONE).nonzero().flatten()
    own = probabilities.new_zeros(len(probabilities), classes)
    own.index_add_(1, places[kept], probabilities[:, kept])
    return own / own.sum(-1, keepdim=True).clamp_min(torch.finfo(own.dtype).tiny)
