"""An SQLite file that several processes may open at once."""

import sqlite3
import time
from pathlib import Path
from typing import Any

_PATIENCE = 60.0  # seconds


def open_database(path: Path, **options: Any) -> sqlite3.Connection:
    """Opens a file, made with its folder where missing, with a write-ahead log.

    Args:
        path: the file.
        **options: options of `sqlite3.connect`.

    Raises:
        OSError, sqlite3.Error: it cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_PATIENCE, **options)
    start = time.monotonic()
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return connection
        except (
            sqlite3.OperationalError
        ) as error:  # SQLite's own patience does not cover two that make this switch at once
            if "locked" not in str(error) or time.monotonic() - start > _PATIENCE:
                raise
            time.sleep(0.01)
