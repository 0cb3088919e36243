"""Reading YAML and JSON that a user, or a run, has left: what is wrong with a file is one line."""

from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.strict_json import parse_json

# a configuration has a few hundred values, five deep
DEEPEST, MOST_VALUES = 50, 100_000
LARGEST_YAML, LARGEST_JSON = 2**20, 16 * 2**20  # bytes; PyYAML reads a megabyte in ten seconds
# what PyYAML raises of a value that its tag does not fit, for instance `!!bool maybe`, is of many kinds
_NO_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file of options: plain values only; an empty file has none.

    Args:
        path: the file, of 1 MiB at most.

    Raises:
        InputError: the file cannot be read, is no YAML, names an option twice, is no mapping, or is deeper
            than 50 levels or, its aliases written out, longer than 100,000 values.
    """
    text = _text_of(Path(path), LARGEST_YAML)
    try:
        found = yaml.load(text, _Loader)
    except _NO_YAML as error:
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply: give at most {DEEPEST} levels") from error
    return _checked({} if found is None else found, path, MOST_VALUES)


def read_json(path: str | Path, largest: int | None = LARGEST_JSON) -> dict[str, Any]:
    """A JSON file that holds an object.

    Args:
        path: the file.
        largest: bytes that it may have; None for a file of any size, of which the depth is not looked at.

    Raises:
        InputError: the file cannot be read, is no JSON, has a key twice in an object or a number that is not
            finite, holds no object, or is too deep or too large.
    """
    text = _text_of(Path(path), largest)
    try:
        found = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}") from error
    return _checked(found, path, largest)


def _text_of(path: Path, largest: int | None) -> str:
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}")
    try:
        if largest is not None and (size := path.stat().st_size) > largest:
            raise InputError(
                f"{path} has {size:,} bytes: more than the {largest:,} that are read of such a file"
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _checked(found: Any, path: str | Path, most: int | None) -> dict[str, Any]:
    """A mapping of at most so many values, none of them too deep; None looks at no value."""
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no names with values")
    for number, depth in enumerate(() if most is None else _depths(found), 1):
        if depth > DEEPEST:
            raise InputError(f"{path} is nested too deeply: give at most {DEEPEST} levels")
        if most is not None and number > most:
            raise InputError(f"{path} holds more than {most:,} values, its aliases written out")
    return found


def _depths(tree: Any) -> Iterator[int]:
    """How deep each value of a tree lies; what several places share counts in each."""
    waiting = [(tree, 0)]
    while waiting:
        value, depth = waiting.pop()
        yield depth
        if isinstance(value, dict | list):
            parts = value.values() if isinstance(value, dict) else value
            waiting += [(part, depth + 1) for part in parts]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which lets the last of two equal keys win, unsaid; here that is an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and (mark := (key.tag, key.value)) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark
                    )
                elif isinstance(key, yaml.ScalarNode):
                    seen.add(mark)
        return super().construct_mapping(node, deep)
