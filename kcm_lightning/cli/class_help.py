"""Help of a class: what a person needs of `--model.help CLASS`, `--data.help CLASS` or `--trainer.help`.

Its options with meaning, choices and default; the project's own classes as choices, any other by its path.
"""

import dataclasses
import importlib
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

import docstring_parser
from lightning import Trainer

from kcm_lightning.utils.console import PROGRAM, wrapped
from kcm_lightning.utils.errors import InputError

ROOMS = ("module", "data", "small", "large")  # where classes that options name are looked for
_PLACES = {"model": "module", "data": "data"}
_MOST_SETTINGS = 8
_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}


def class_help(words: list[str]) -> str | None:
    """The page that a command asks for; None where it asks for no class.

    Args:
        words: those of the command, as `fit --model.judge.help CKAN`.

    Raises:
        InputError: there is no such class.
    """
    for place, word in enumerate(words):
        name, given, value = word.partition("=")
        if name == "--trainer.help":
            return _page("--trainer", Trainer)
        if not (name.startswith(("--model", "--data")) and name.endswith(".help")):
            continue
        rest = words[place + 1 : place + 2]
        value = value if given else next((other for other in rest if not other.startswith("-")), "")
        option = name.removesuffix(".help")
        return _page(option, _found(value, option)) if value else _choices_page(option)
    return None


def _found(name: str, option: str) -> type:
    """A class by its bare name among the project's own, or by its path."""
    for room in ROOMS:
        module = importlib.import_module(f"kcm_lightning.{room}")
        if inspect.isclass(found := getattr(module, name, None)):
            return found
    path, _, last = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(path), last)
        if inspect.isclass(found):
            return found
    except (ImportError, ValueError, AttributeError):
        pass
    known = ", ".join(kind.__name__ for kind in _all_of(option))
    raise InputError(f"{option}.help: there is no class {name!r}; there are {known}")


def _all_of(option: str) -> list[type]:
    """The project's own classes that an option takes, as far as its name says."""
    last = option.rpartition(".")[2]
    room = _PLACES.get(option.removeprefix("--")) or {"teacher": "large"}.get(last, "small")
    return own_classes(room, object)


def own_classes(room: str, base: type) -> list[type]:
    """The project's own classes of a room that are of a kind, those alone that an option can name."""
    module = importlib.import_module(f"kcm_lightning.{room}")
    found = [getattr(module, name) for name in module.__all__]
    return [
        kind
        for kind in found
        if inspect.isclass(kind)
        and issubclass(kind, base)
        and not inspect.isabstract(kind)
        and not dataclasses.is_dataclass(kind)
        and not kind.__name__.endswith("DataModule")  # the base classes of a user's own data
    ]


def _choices_page(option: str) -> str:
    lines = [f"{option} CLASS is one of:"]
    for kind in _all_of(option):
        summary = docstring_parser.parse(inspect.getdoc(kind) or "").short_description or ""
        lines += wrapped(summary, indent=27, first=f"  {kind.__name__:<24} ")
    return "\n".join([*lines, "", f"Options of one: {PROGRAM} fit {option}.help CLASS"]) + "\n"


def _page(option: str, kind: type) -> str:
    text = docstring_parser.parse(inspect.getdoc(kind) or "")
    parts = [f"{option} {kind.__module__}.{kind.__qualname__}"]
    parts += wrapped(text.short_description or "", indent=0)
    for paragraph in (text.long_description or "").split("\n\n"):
        parts += ["", *wrapped(paragraph, indent=0)] if paragraph else []
    parts += ["", "Options:", *_options(option, kind)]
    return "\n".join(parts).rstrip() + "\n"


def _options(option: str, kind: type) -> Iterator[str]:
    """Lines of all options of a class; those of settings, such as phases, stand below one another."""
    described = _described(kind)
    for parameter, annotation in parameters_of(kind):
        name = f"{option}.{parameter.name}"
        settings = next((one for one in members_of(annotation) if _is_explained(one)), None)
        if settings is not None:
            yield from ("", f"{name}.*", *wrapped(described.get(parameter.name, ""), indent=4))
            default = parameter.default if dataclasses.is_dataclass(parameter.default) else None
            yield from _settings(name, typing.cast(type, settings), default)
            continue
        yield from ("", f"{name}  {_kind(annotation)}{_default(parameter.default)}")
        yield from wrapped(described.get(parameter.name, ""), indent=4)
        yield from _own_choices(name, annotation)


def _is_explained(kind: Any) -> bool:
    """Whether settings are few enough to be set by hand; `calibrate` finds the many weights of a gate."""
    return dataclasses.is_dataclass(kind) and len(dataclasses.fields(kind)) <= _MOST_SETTINGS


def _settings(option: str, kind: type, default: Any) -> Iterator[str]:
    """The fields of a dataclass, a line each and what they mean."""
    described = _described(kind)
    for parameter, annotation in parameters_of(kind):
        value = getattr(default, parameter.name, parameter.default)
        yield f"  {option}.{parameter.name}  {_kind(annotation)}{_default(value)}"
        yield from wrapped(described.get(parameter.name, ""), indent=6)


def _own_choices(option: str, annotation: Any) -> Iterator[str]:
    for base in members_of(annotation):
        if not inspect.isclass(base) or base in _WORDS or base.__module__ == "builtins":
            continue
        room = "large" if base.__module__.startswith("kcm_lightning.large") else "small"
        if names := [kind.__name__ for kind in own_classes(room, base)]:
            yield from wrapped(f"choices: {', '.join(names)}, or the path of a class of your own", indent=4)
            yield f"    options of one: {PROGRAM} fit {option}.help CLASS"


def _described(kind: type) -> dict[str, str]:
    """What the docstring says of each option, those of the classes it is made from included."""
    found: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        for told in (parent, vars(parent).get("__init__")):  # Lightning's Trainer tells there
            for entry in docstring_parser.parse(getattr(told, "__doc__", None) or "").params:
                found[entry.arg_name] = " ".join((entry.description or "").split())
    return found


def parameters_of(kind: type) -> list[tuple[inspect.Parameter, Any]]:
    """Options with their types; what is handed on by `**kwargs` comes from the class above."""
    found: dict[str, tuple[inspect.Parameter, Any]] = {}
    for parent in kind.__mro__:
        start = vars(parent).get("__init__")
        if start is None:
            continue
        hints = typing.get_type_hints(start)
        parameters = list(inspect.signature(start).parameters.values())[1:]
        for own in parameters:
            if own.kind not in (own.VAR_KEYWORD, own.VAR_POSITIONAL):
                found.setdefault(own.name, (own, hints.get(own.name, Any)))
        if not any(own.kind is own.VAR_KEYWORD for own in parameters):
            break
    return list(found.values())


def members_of(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, or the one there is."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _kind(annotation: Any) -> str:
    """A type in words.

    >>> _kind(int | None), _kind(Literal["a", "b"]), _kind(list[float])
    ('whole number or null', 'a | b', 'list of number')
    """
    words = []
    for member in members_of(annotation):
        origin, inner = typing.get_origin(member), typing.get_args(member)
        if member is type(None):
            words.append("null")
        elif origin is Literal:
            words.append(" | ".join(map(str, inner)))
        elif origin in (list, tuple):
            inner = tuple(dict.fromkeys(one for one in inner if one is not ...))
            words.append(f"list of {' and '.join(map(_kind, inner))}")
        elif origin is dict or dataclasses.is_dataclass(member):
            words.append("names with values")
        elif member in _WORDS:
            words.append(_WORDS[member])
        else:
            words.append("CLASS" if inspect.isclass(member) else "value")
    return " or ".join(dict.fromkeys(words))


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty or value is dataclasses.MISSING:
        return "  (required)"
    plain = {None: "null", True: "true", False: "false"}
    return f"  (default {plain[value] if value is None or isinstance(value, bool) else value})"
