"""Two lists of class names: which class of one is which of the other."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_warn

from kcm_lightning.utils.errors import InputError

Labels = Literal["by_name", "by_position"] | dict[str, str]

_NUMBERED = re.compile(r"(\D*)(\d+)")
_SHOWN = 5


def plain_name(name: Any) -> str:
    """A class name as names are compared: without regard to case, and to `_`, `-` and blanks between words.

    >>> plain_name("Lawn_Mower") == plain_name("lawn-mower ") == plain_name("lawn mower")
    True
    """
    text = unicodedata.normalize("NFKC", str(name)).casefold()
    return " ".join(text.replace("_", " ").replace("-", " ").split())


def plain_names(names: Sequence[Any], whose: str) -> list[str]:
    """Class names as they are compared.

    Args:
        names: in the order of the labels.
        whose: whose names they are, for the error.

    Raises:
        InputError: two of them are the same.
    """
    first: dict[str, Any] = {}
    for name in names:
        plain = plain_name(name)
        if plain in first:
            raise InputError(
                f"{whose} class names {first[plain]!r} and {name!r} are one name, as case, '_' and '-' do "
                "not count: rename one"
            )
        first[plain] = name
    return list(first)


def class_order(own: Sequence[Any], wanted: Sequence[str], *, labels: Labels, option: str) -> list[int]:
    """Where a model has the data's classes.

    All names match: by name. None does: in order where the model's names say nothing (`LABEL_0`, `class 1`,
    bare numbers, counted up), or where the user says so.

    Args:
        own: the model's class names, in the order of its outputs.
        wanted: the data's class names, as many.
        labels: "by_name"; "by_position", where no name matches; or the data's names by the model's own.
        option: the option that holds `labels`.

    Returns:
        For each class of the data its place in the model.

    Raises:
        InputError: only some of the names match, or none and nobody says that they are in order.

    >>> class_order(["dog", "lawn_mower"], ["Lawn mower", "dog"], labels="by_name", option="--labels")
    [1, 0]
    """
    in_order = list(range(len(wanted)))
    if isinstance(labels, Mapping):
        own = _renamed(own, wanted, labels, option)
    elif labels == "by_position" and list(map(plain_name, own)) == list(map(plain_name, wanted)):
        return in_order
    found, asked = plain_names(own, "the model's"), plain_names(wanted, "the data's")
    matching = set(found) & set(asked)
    if len(matching) == len(asked):
        order = [found.index(name) for name in asked]
        if labels == "by_position" and order != in_order:
            raise InputError(
                f"{option}=by_position: the model has the data's class names, but in another order "
                f"({shortened(own)}; the data: {shortened(wanted)}): leave the option out, or map the names"
            )
        return order
    if matching:
        raise InputError(_partly(own, wanted, matching, option))
    if labels == "by_position":
        return in_order
    if says_nothing(found):
        rank_zero_warn(
            f"the model's class names ({shortened(own)}) say nothing: its classes are taken in the order of "
            f"the data's ({shortened(wanted)})"
        )
        return in_order
    raise InputError(
        f"{option}: none of the model's class names ({shortened(own)}) is one of the data's "
        f"({shortened(wanted)}): map each to the data's, {_example(own[0], wanted[0], option)}, or set "
        f"{option}=by_position if they are in the same order"
    )


def says_nothing(names: Sequence[Any]) -> bool:
    """Whether class names are only numbers that count up from 0 or 1, perhaps each after the same word.

    >>> says_nothing(["LABEL_0", "LABEL_1"]), says_nothing(["LABEL_1", "LABEL_0"]), says_nothing(["cat"])
    (True, False, False)
    """
    parts = [_NUMBERED.fullmatch(plain_name(name)) for name in names]
    if not parts or any(part is None for part in parts):
        return False
    words, numbers = zip(*((part[1], int(part[2])) for part in parts if part), strict=True)
    return len(set(words)) == 1 and numbers[0] in (0, 1) and _count_up(numbers)


def _count_up(numbers: Sequence[int]) -> bool:
    return list(numbers) == list(range(numbers[0], numbers[0] + len(numbers)))


def shortened(names: Sequence[Any]) -> str:
    """The first few of some names.

    >>> shortened(["a", "b"])
    "'a', 'b'"
    """
    return ", ".join(f"{str(name)[:40]!r}" for name in names[:_SHOWN]) + (", ..." if names[_SHOWN:] else "")


def nearest(name: str, names: Sequence[str]) -> str:
    """ " (perhaps 'crab')", where one of some names is near; else nothing."""
    near = get_close_matches(name, names, n=1)
    return f" (perhaps {near[0]!r})" if near else ""


def _renamed(own: Sequence[Any], wanted: Sequence[str], names: Mapping[str, str], option: str) -> list[Any]:
    """The model's class names with those that are mapped replaced."""
    new = {plain_name(name): other for name, other in names.items()}
    for what, whose, known in ((names, "the model's", own), (names.values(), "the data's", wanted)):
        for name in what:
            if plain_name(name) not in map(plain_name, known):
                near = nearest(str(name), list(map(str, known)))
                raise InputError(
                    f"{option}: {name!r} is none of {whose} class names{near}: {shortened(known)}"
                )
    return [new.get(plain_name(name), name) for name in own]


def _partly(own: Sequence[Any], wanted: Sequence[str], matching: set[str], option: str) -> str:
    foreign = [str(name) for name in own if plain_name(name) not in matching]
    missing = [name for name in wanted if plain_name(name) not in matching]
    shown = ", ".join(f"{name!r}{nearest(name, missing)}" for name in foreign[:_SHOWN])
    more = ", ..." if foreign[_SHOWN:] else ""
    other = (get_close_matches(foreign[0], missing, n=1) or missing)[0]
    return (
        f"{option}: {len(matching)} of the {len(wanted)} class names match, but the model's {shown}{more} "
        f"are none of the data's, whose {shortened(missing)} it does not have: map each, "
        f"{_example(foreign[0], other, option)}"
    )


def _example(own: Any, wanted: str, option: str) -> str:
    return f"""for instance {option}='{{"{own}": "{wanted}"}}'"""
