"""A file of answers that grows row by row; what a killed process has written is not done again."""

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.extras import require
from kcm_lightning.utils.files import write_json
from kcm_lightning.utils.plain_files import read_json

SUFFIXES = (".jsonl", ".csv", ".parquet")
_AT_ONCE = 10_000  # rows of a Parquet file that are held in memory


class OutputFile:
    """Answers in JSON lines, CSV or Parquet, and beside them how far they are while they are not all there.

    A Parquet file cannot grow: until the end its rows stand in JSON lines beside it.

    Args:
        path: file to write, of one of `SUFFIXES`.
        columns: names of the columns.
        asked: what tells this work from another: input, run, thresholds; plain values only.

    Attributes:
        counts: what was counted in the rows that are there; kept with them.
        rows: number of inputs that are done.

    Raises:
        InputError: the file is there already, or begun for something else.
    """

    def __init__(self, path: Path, columns: Sequence[str], asked: dict[str, Any]):
        if path.suffix not in SUFFIXES:
            raise InputError(f"--output: {str(path)!r} must end in {', '.join(SUFFIXES)}")
        if path.suffix == ".parquet":
            require("pyarrow", extra="parquet", what="--output: a Parquet file")
        self.path, self.columns, self.asked = path, list(columns), asked
        self._progress = path.with_name(f".{path.name}.progress.json")
        self._growing = path.with_name(f".{path.name}.rows.jsonl") if path.suffix == ".parquet" else path
        self.rows, self.counts = 0, dict[str, Any]()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            done = self._begun()
            self._file = self._growing.open("r+b" if done else "wb")
        except OSError as error:
            raise InputError(f"--output: {path} cannot be written to: {error.strerror}") from error
        self._file.truncate(done)
        self._file.seek(done)
        if not done and self._growing.suffix == ".csv":
            self._file.write(_csv_line(self.columns))

    def _begun(self) -> int:
        """Bytes that an earlier process has left for good; where there was none, says that one has begun."""
        if not self._progress.is_file():
            if self.path.exists():
                raise InputError(f"--output: {self.path} is there already: name another, or remove it")
            self._note(0)
            return 0
        progress = read_json(self._progress, largest=None)
        if progress.get("asked") != self.asked:
            raise InputError(
                f"--output: {self.path} was begun for another input, run or thresholds: name another, or "
                f"remove it and {self._progress}"
            )
        self.rows, self.counts, done = progress["rows"], progress["counts"], progress["bytes"]
        if done and (not self._growing.is_file() or self._growing.stat().st_size < done):
            raise InputError(
                f"--output: {self._growing} is shorter than {self._progress} says: remove both to begin anew"
            )
        return done

    def _note(self, written: int) -> None:
        write_json(
            self._progress,
            {"asked": self.asked, "rows": self.rows, "bytes": written, "counts": self.counts},
        )

    def add(self, rows: Sequence[dict[str, Any]], done: int) -> None:
        """Writes rows for good.

        Args:
            rows: values by columns.
            done: number of inputs that are done with them.
        """
        as_csv = self._growing.suffix == ".csv"
        for row in rows:
            line = _csv_line([row[name] for name in self.columns]) if as_csv else _json_line(row)
            self._file.write(line)
        self._file.flush()
        self.rows = done
        self._note(self._file.tell())

    def finish(self) -> None:
        """Says that all rows are there."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if self._growing != self.path:
            _write_parquet(self._growing, self.path, self.columns)
            self._growing.unlink()
        self._progress.unlink(missing_ok=True)

    def close(self) -> None:
        """Leaves the file as it is, to go on with."""
        self._file.close()


def _json_line(row: dict[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _csv_line(values: Sequence[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(["" if value is None else value for value in values])
    return text.getvalue().encode("utf-8", "replace")


def _write_parquet(lines: Path, path: Path, columns: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"row": pa.int64(), "confidence": pa.float64(), "score": pa.float64(), "cost": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in columns])
    partial = path.with_name(f".{path.name}.partial")
    with lines.open("rb") as file, pq.ParquetWriter(partial, schema) as writer:
        while part := _some(file):
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
    os.replace(partial, path)


def _some(file: Iterator[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in islice(file, _AT_ONCE)]
