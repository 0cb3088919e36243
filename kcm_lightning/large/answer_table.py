"""A table of answers in an SQLite file, which does not believe what it reads before it is checked."""

import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kcm_lightning.large.database import open_database
from kcm_lightning.utils.errors import InputError

Key = tuple[bytes, bytes]  # digests of an input and of what else its prompt says

_SCHEMA = """CREATE TABLE IF NOT EXISTS answers (
    model BLOB, input BLOB, prompt BLOB, value BLOB, checksum INTEGER,
    PRIMARY KEY (model, input, prompt)) WITHOUT ROWID"""
_AT_ONCE = 10_000  # SQLite takes 32,766 parameters a statement


class AnswerTable:
    """Values under a model, an input and a prompt, each with a checksum of all four.

    Args:
        path: the SQLite file, made with its folder where missing.

    Attributes:
        damaged: rows whose checksum was wrong so far; they are taken out of the file.

    Raises:
        InputError: it cannot be used.
    """

    def __init__(self, path: Path):
        self.path, self.damaged = path, 0
        with self._in_words():
            self._connection = open_database(path)
            self._connection.text_factory = bytes  # of a damaged row anything may be a text
            # a commit does not wait for the disk: a killed process loses nothing, a power cut at most what
            # can be asked again
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(_SCHEMA)

    def read(self, model: bytes, keys: Sequence[Key]) -> dict[Key, bytes]:
        """What it has under some keys.

        Args:
            model: digest of the model.
            keys: keys of the samples.
        """
        found: dict[Key, bytes] = {}
        bad = []
        inputs = list({own for own, _ in keys})
        with self._in_words():
            for start in range(0, len(inputs), _AT_ONCE):
                part = inputs[start : start + _AT_ONCE]
                places = ",".join("?" * len(part))
                query = (
                    "SELECT input, prompt, value, checksum FROM answers "
                    f"WHERE model = ? AND input IN ({places})"
                )
                for own, prompt, value, checksum in self._connection.execute(query, [model, *part]):
                    if _checksum(model, own, prompt, value) == checksum:
                        found[own, prompt] = value
                    else:
                        bad.append((model, own, prompt))
            if bad:
                self.damaged += len(bad)
                with self._connection:
                    self._connection.executemany(
                        "DELETE FROM answers WHERE model = ? AND input = ? AND CAST(prompt AS BLOB) = ?", bad
                    )
        return found

    def write(self, model: bytes, values: Mapping[Key, bytes]) -> None:
        """Keeps values, all or none of them."""
        rows = [(model, *key, value, _checksum(model, *key, value)) for key, value in values.items()]
        if rows:
            with self._in_words(), self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", rows)

    def rows_of(self, other: str) -> int:
        """How many rows another table of the file has; 0 where there is no such table."""
        with self._in_words():
            kinds = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
            if not self._connection.execute(kinds, [other]).fetchone()[0]:
                return 0
            return self._connection.execute(f"SELECT count(*) FROM {other}").fetchone()[0]

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            advice = "give another folder"
            if "locked" in str(error):
                advice = "another process has it; wait for that, or give another folder"
            elif isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                advice = "move the file away, and everything is asked anew, or give another folder"
            raise InputError(f"--model.cache: {self.path} cannot be used: {error}; {advice}") from error


def _checksum(*parts: Any) -> int | None:
    """CRC-32 of some bytes; None where one of them is something else."""
    checksum = 0
    for part in parts:
        if not isinstance(part, bytes):
            return None
        checksum = zlib.crc32(part, checksum)
    return checksum
