"""Rows of tables in files: CSV and its kin, JSON lines, Parquet; one after the other, whatever their size."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.extras import require
from kcm_lightning.utils.json_lines import read_json_lines

Row = dict[str, Any]
_DELIMITERS = {".csv": ",;\t|", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson", ".json")
SUFFIXES = (*_DELIMITERS, *_JSON_LINES, ".parquet")
_SNIFFED = 64_000  # characters of a CSV that tell its delimiter
_FIELD = 10_000_000  # characters of a field at most


def read_table(path: Path, option: str, columns: Sequence[str] = ()) -> Iterator[tuple[int, Row]]:
    """The rows of a table, with their numbers from 1; values as the file has them, texts in a CSV.

    A CSV is UTF-8, with or without a byte-order mark, its delimiter a comma, semicolon, tabulator or bar: the
    one that its head has most of. A quoted field may hold line ends.

    Args:
        path: `.csv`, `.tsv`, `.jsonl` (`.ndjson`, `.json`) or `.parquet`.
        option: the option that names it, for errors.
        columns: columns that each row must have.

    Raises:
        InputError: the file is missing, of another kind or damaged, a column is missing, or a row has more or
            fewer fields than the head.
    """
    if not path.is_file():
        raise InputError(f"{option}: there is no file {str(path)!r}")
    suffix = path.suffix.lower()
    if suffix in _DELIMITERS:
        rows = _read_csv(path, option, _DELIMITERS[suffix])
    elif suffix in _JSON_LINES:
        rows = enumerate((row for _, row in read_json_lines(path, option)), 1)
    elif suffix == ".parquet":
        rows = _read_parquet(path, option)
    else:
        raise InputError(f"{option}: {path} is none of {', '.join(SUFFIXES)}")
    for number, row in rows:
        for column in columns:
            if column not in row:
                there = ", ".join(map(str, row))
                raise InputError(f"{option}: {path}, row {number} has no column {column!r}; it has {there}")
        yield number, row


def joined(row: Row, columns: Sequence[str]) -> str:
    """The texts of some columns of a row, one below the other; nothing where all are empty.

    >>> joined({"title": "Late", "body": None, "id": 7}, ["title", "body", "id"])
    'Late\\n7'
    """
    return "\n".join(str(row[column]) for column in columns if row.get(column) not in (None, ""))


def _read_csv(path: Path, option: str, delimiters: str) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(_FIELD)
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=_delimiter(file, delimiters), strict=True)
            head = next(reader, None)
            if head is None:
                raise InputError(f"{option}: {path} is empty")
            if len(set(head)) < len(head) or not all(name.strip() for name in head):
                raise InputError(f"{option}: the head of {path} has a name twice, or one without letters")
            for fields in reader:
                if not fields:
                    continue  # an empty line
                number += 1
                if len(fields) != len(head):
                    raise InputError(
                        f"{option}: {path}, row {number} (line {reader.line_num}) has {len(fields)} fields, "
                        f"the head {len(head)}: put fields with delimiters or line ends into quotes"
                    )
                yield number, dict(zip(head, fields, strict=True))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{option}: {path} is no UTF-8 after row {number}: save it as such ({error})"
        ) from error
    except csv.Error as error:
        raise InputError(f"{option}: {path}, after row {number}: {error}") from error
    except OSError as error:
        raise InputError(f"{option}: {path} cannot be read: {error.strerror}") from error


def _delimiter(file: TextIO, known: str) -> str:
    """The delimiter that the head has most of, outside of quotes."""
    head = file.read(_SNIFFED)
    file.seek(0)
    unquoted = "".join(part for place, part in enumerate(_first_row(head).split('"')) if place % 2 == 0)
    return max(known, key=unquoted.count)


def _first_row(text: str) -> str:
    """The text up to the first line end outside of quotes."""
    ended = 0
    for line in io.StringIO(text, newline=""):
        ended += len(line)
        if text[:ended].count('"') % 2 == 0:
            break
    return text[:ended]


def _read_parquet(path: Path, option: str) -> Iterator[tuple[int, Row]]:
    require("pyarrow", extra="parquet", what=f"{option}: a Parquet file")
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1_000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{option}: {path} is no whole Parquet file, after row {number}: {error}") from error
