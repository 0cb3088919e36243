"""What the parser does not understand, in one line that says what there is instead."""

import dataclasses
import difflib
import importlib
import re
from collections.abc import Iterable

from kcm_lightning.cli.class_help import ROOMS, members_of, own_classes, parameters_of

_NOISE = (
    "Does not validate",
    "Subtypes:",
    "Errors:",
    "Given value",
    "- Expected a <class 'NoneType'>",
    "Problem with given",
)
_PARTS = ("--model", "--data", "--trainer")
_KINDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}


def one_line(message: str, known: Iterable[str] = ()) -> str:
    """The reasons out of jsonargparse's nested account of every alternative that it tried.

    Args:
        message: the account.
        known: options that the command takes, as `--trainer.max_epochs`.
    """
    lines = [line.strip() for line in message.splitlines()]
    reasons = [line.removeprefix("- ") for line in lines if line and line not in _NOISE]
    reasons = [line for line in reasons if not line.startswith(_NOISE)]
    keys = [line for line in reasons if line.startswith("Parser key")]
    reasons = [line for line in reasons if line not in keys and line != ":"] or lines
    option = ".".join(key.split('"')[1] for key in keys)
    return _said(f"--{option}" if option else "", "; ".join(reasons), [*known])


def _said(option: str, reason: str, known: list[str]) -> str:
    """A reason in words, behind the option that it is about."""
    if found := re.fullmatch(r"Option '(\S+?)' is not accepted", reason):
        return _no_option(f"{option}.{found[1]}", known)
    if found := re.fullmatch(r"[Uu]nrecognized arguments: (--[^ =]+).*", reason):
        return _no_option(f"{option}.{found[1][2:]}" if option else found[1], known)
    if found := re.search(r"Expected a dot import path string: (\w+)$", reason):
        return f"{option}: there is no class {found[1]!r}{_near(found[1], _classes())}"
    if found := re.fullmatch(r"Expected a <class '(\w+)'>\. Got value: (.*)", reason, re.S):
        return f"{option}: {found[2]!r} is not {_KINDS.get(found[1], found[1])}"
    if found := re.fullmatch(r"Expected a typing\.Literal\[(.*)\]\. Got value: (.*)", reason, re.S):
        choices = found[1].replace("'", "")
        return f"{option}: {found[2]!r} is none of {choices}"
    return f"{option}: {reason}" if option else reason


def _no_option(option: str, known: list[str]) -> str:
    option = option.replace(".init_args", "")
    near = difflib.get_close_matches(option, known, n=1, cutoff=0.8)
    near += [name for name in known if name.startswith(option)]  # as --seed for --seed_everything
    place, _, name = option.rpartition(".")
    part, *rest = place.split(".")
    if not near and place and (parts := difflib.get_close_matches(part, _PARTS, n=1)):
        names = difflib.get_close_matches(name, _parameters(), n=1)
        near += [".".join([*parts, *rest, similar]) for similar in names]
    return f"there is no option {option}" + (f"; did you mean {near[0]}?" if near else "")


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _classes() -> list[str]:
    """Names of the project's classes."""
    return [name for room in ROOMS for name in importlib.import_module(f"kcm_lightning.{room}").__all__]


def _parameters() -> set[str]:
    """Names of the options of all of the project's classes, and of what these hold."""
    found: set[str] = set()
    for room in ROOMS:
        for kind in own_classes(room, object):
            for parameter, annotation in parameters_of(kind):
                found.add(parameter.name)
                settings = filter(dataclasses.is_dataclass, members_of(annotation))
                found |= {field.name for one in settings for field in dataclasses.fields(one)}
    return found
