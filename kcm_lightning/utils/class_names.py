"""Two lists of class names: which class of one is which of the other."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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


def finder(names: Sequence[Any]) -> Callable[[Any], int | None]:
    """What says where a name is among class names: the very same one, else the only one that is like it.

    Args:
        names: in the order of the labels.

    Returns:
        Gives the position of a name; None where none is like it, or several are and none is the very same.

    >>> find = finder(["a", "A", "lawn_mower"])
    >>> find("A"), find("Lawn mower"), find(" a "), find("b")
    (1, 2, None, None)
    """
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        for key in {f"is {name}", f"like {plain_name(name)}"}:
            places.setdefault(key, []).append(place)

    def find(name: Any) -> int | None:
        found = places.get(f"is {name}") or places.get(f"like {plain_name(name)}") or []
        return found[0] if len(found) == 1 else None

    return find


def _keys(own: Sequence[Any], wanted: Sequence[Any]) -> tuple[list[str], list[str]]:
    """What of two lists is compared: plain names; the very ones where two of a list have one plain name."""
    plain = [[plain_name(name) for name in names] for names in (own, wanted)]
    shared = {name for names in plain for name, count in Counter(names).items() if count > 1}
    keys = [
        [str(name) if short in shared else short for name, short in zip(names, own_plain, strict=True)]
        for names, own_plain in zip((own, wanted), plain, strict=True)
    ]
    return keys[0], keys[1]


def _refuse_twins(names: Sequence[Any], whose: str) -> None:
    """Refuses names of which two are one, unless they are told apart by the other list's very names."""
    first: dict[str, Any] = {}
    for name in names:
        if (plain := plain_name(name)) in first:
            raise InputError(
                f"{whose} class names {first[plain]!r} and {name!r} are one name, as case, '_' and '-' do "
                "not count unless both lists have the very same names: rename one"
            )
        first[plain] = name


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
    own, wanted = list(map(str, own)), list(map(str, wanted))  # numbers are names too
    if isinstance(labels, Mapping):
        own = _renamed(own, wanted, labels, option)
    found, asked = _keys(own, wanted)
    matching = set(found) & set(asked)
    if labels == "by_position" and (not matching or found == asked):
        return in_order
    if len(matching) == len(asked) == len(found):
        if labels == "by_position":
            raise InputError(
                f"{option}=by_position: the model has the data's class names, but in another order "
                f"({shortened(own)}; the data: {shortened(wanted)}): leave the option out, or map the names"
            )
        return [found.index(name) for name in asked]
    _refuse_twins(own, "the model's")
    _refuse_twins(wanted, "the data's")
    if matching:
        raise InputError(_partly(own, wanted, matching, option))
    if says_nothing(own):
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
    """The model's class names with those that are mapped replaced by the data's."""
    new: dict[int, Any] = {}
    for name, other in names.items():
        place = place_of(name, own, "the model's", option)
        if place in new:
            raise InputError(f"{option}: {own[place]!r} is mapped twice, the second time as {name!r}")
        new[place] = wanted[place_of(other, wanted, "the data's", option)]
    renamed = [new.get(place, name) for place, name in enumerate(own)]
    twice = {name for name, count in Counter(map(str, renamed)).items() if count > 1}
    for name in map(str, new.values()):
        if name in twice:
            same = [repr(own[place]) for place, each in enumerate(renamed) if str(each) == name]
            raise InputError(
                f"{option}: the model's {' and '.join(same[:_SHOWN])} would all be {name!r}: map each to a "
                "class of its own"
            )
    return renamed


def place_of(name: Any, names: Sequence[Any], whose: str, option: str) -> int:
    """Where a name is among class names, which has to be one of them.

    Args:
        name: the name.
        names: in the order of the labels.
        whose: these are, for the error.
        option: the option that holds the name.

    Raises:
        InputError: it is none of them.
    """
    place = finder(names)(name)
    if place is None:
        near = nearest(str(name), list(map(str, names)))
        raise InputError(f"{option}: {name!r} is none of {whose} class names{near}: {shortened(names)}")
    return place


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
