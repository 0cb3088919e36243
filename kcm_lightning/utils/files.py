"""Files that are written whole or not at all."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from kcm_lightning.utils.errors import InputError


def check_path(option: str, path: str) -> None:
    """Refuses a text that no file system takes for a path.

    Args:
        option: the option that names it, for the error.
        path: what was given.

    Raises:
        InputError: it holds a NUL, or a letter that is none.
    """
    try:
        fits = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise InputError(f"{option}: {path[:60]!r} holds a character that no path has")


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all; half of a surrogate pair becomes a question mark.

    Raises:
        InputError: the place is full or cannot be written to.
    """
    _write(path, lambda partial: partial.write_bytes(text.encode("utf-8", "replace")))


def write_json(path: Path, value: Any) -> None:
    """Writes JSON whole or not at all.

    Raises:
        InputError: the place is full or cannot be written to.
    """
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_figure(path: Path, figure: Any) -> None:
    """Writes a matplotlib figure whole or not at all, as PNG or SVG after the name's ending.

    Raises:
        InputError: the place is full or cannot be written to.
    """
    _write(path, lambda partial: figure.savefig(partial, dpi=120, format=path.suffix[1:]))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(partial)
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()
