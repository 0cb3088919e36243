"""Options of a configuration by the names that the command line gives them."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def by_name(
    tree: Mapping[str, Any], name: str = "", skip: Callable[[str, str], bool] | None = None
) -> Iterator[tuple[str, Any]]:
    """Each value of a tree of options with its dotted name, in which `init_args` does not stand.

    An empty mapping is a value.

    Args:
        tree: options as YAML has them.
        name: name of the tree itself.
        skip: whether to leave out what a tree, by its name, has under a key; None, the default, leaves out
            nothing.

    >>> list(by_name({"judge": {"class_path": "CKAN", "init_args": {"width": 16}}}, "model"))
    [('model.judge.class_path', 'CKAN'), ('model.judge.width', 16)]
    """
    for key, value in tree.items():
        if skip is not None and skip(name, key):
            continue
        inner = name if key == "init_args" else f"{name}.{key}".removeprefix(".")
        if isinstance(value, Mapping) and value:
            yield from by_name(value, inner, skip)
        else:
            yield inner, value
