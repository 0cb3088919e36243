"""What a user's own inputs have to be, where they are no images in a tensor."""

from collections.abc import Sequence
from typing import Any

from kcm_lightning.utils.errors import InputError


def check_list(inputs: Any, kinds: type | tuple[type, ...], rule: str) -> None:
    """Whether a user's inputs are a list that holds something, all of it of some kind.

    Args:
        inputs: what was given; a tensor, an array or a single text is no list.
        kinds: what its elements have to be.
        rule: what it should have been, for the error.

    Raises:
        InputError: it is something else.
    """
    is_list = isinstance(inputs, Sequence) and not isinstance(inputs, str | bytes)
    if not is_list:
        raise InputError(f"{rule}, not {type(inputs).__name__}")
    if not len(inputs):
        raise InputError(f"{rule}, and this one is empty")
    if other := [number for number, one in enumerate(inputs) if not isinstance(one, kinds)]:
        raise InputError(f"{rule}, and number {other[0]} is {type(inputs[other[0]]).__name__}")
