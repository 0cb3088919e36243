"""What `predict` is given: a folder, a list of files, a table, or lines from a pipe; row after row."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kcm_lightning.data.image_store import image_files
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.image_io import shown
from kcm_lightning.utils.lines import lines_up_to
from kcm_lightning.utils.table_files import SUFFIXES, joined, read_table

Kind = Literal["texts", "images"]
PIPE = "-"
_LONGEST_LINE = 2_000_000  # bytes
_LISTS = (".txt", ".list")


@dataclass
class Row:
    """A row of what is given.

    Args:
        number: from 1.
        value: a text, or the path of an image; None where the row is bad.
        problem: what is wrong with a bad row.
    """

    number: int
    value: Any
    problem: str | None = None


def read_inputs(given: str, kind: Kind, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a folder, a file or a pipe.

    Args:
        given: folder of images; table (CSV, TSV, JSON lines, Parquet) with a column of texts or paths; `.txt`
            with one to a line; or "-", lines on standard input, each a text or path, or a JSON object with
            the column. Paths are relative to the file that lists them.
        kind: what the run answers.
        columns: columns of the text or path; several texts are put one below the other.

    Raises:
        InputError: there is nothing there, or it cannot be read.
    """
    path = Path(given)
    if given == PIPE:
        return _of_lines(sys.stdin.buffer, "standard input", kind, columns, Path())
    if path.is_dir():
        if kind == "texts":
            raise InputError(f"--input: {given!r} is a folder, and texts are in a file, for instance a CSV")
        return (Row(number, file) for number, file in enumerate(image_files(path, "--input"), 1))
    if not path.is_file():
        raise InputError(f"--input: there is no file or folder {given!r}")
    if path.suffix.lower() in SUFFIXES:
        return (
            _row(number, row, kind, columns, path.parent)
            for number, row in read_table(path, "--input", columns)
        )
    if path.suffix.lower() in _LISTS:
        return _of_file(path, kind, columns)
    raise InputError(
        f"--input: {shown(path)} is no folder of images, no table ({', '.join(SUFFIXES)}) and no list "
        f"({', '.join(_LISTS)})"
    )


def _of_file(path: Path, kind: Kind, columns: Sequence[str]) -> Iterator[Row]:
    try:
        with path.open("rb") as file:
            yield from _of_lines(file, str(path), kind, columns, path.parent)
    except OSError as error:
        raise InputError(f"--input: {shown(path)} cannot be read: {error.strerror}") from error


def _of_lines(lines: Any, name: str, kind: Kind, columns: Sequence[str], folder: Path) -> Iterator[Row]:
    number = 0
    for line in lines_up_to(lines, _LONGEST_LINE):
        number += 1
        if line is None:
            yield Row(number, None, f"more than {_LONGEST_LINE:,} bytes long")
            continue
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            yield Row(number, None, "no UTF-8")
            continue
        row = _object(text)
        if row is None:
            row = dict.fromkeys(columns[:1], text)
        if missing := [column for column in columns if column not in row]:
            raise InputError(f"--input: {name}, line {number} has no {missing[0]!r}, only {', '.join(row)}")
        yield _row(number, row, kind, columns, folder)


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that a line is; None where it is none."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        row = json.loads(text)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _row(number: int, row: dict[str, Any], kind: Kind, columns: Sequence[str], folder: Path) -> Row:
    text = joined(row, columns)
    if not text.strip():
        return Row(number, None, f"no {'text' if kind == 'texts' else 'path'}")
    return Row(number, text if kind == "texts" else folder / text.strip())
