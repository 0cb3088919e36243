"""Answers of a large model on disk, so that nothing is asked twice."""

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from kcm_lightning.core.predictions import Query
from kcm_lightning.large.base import LargeClassifier, LargeModel
from kcm_lightning.large.database import open_database
from kcm_lightning.utils.errors import InputError


class CachedModel(LargeModel):
    """A large model that answers a question once and from then on reads the answer from disk.

    An SQLite file, one row a question; the key is the model's identity, the data set, the sample and what the
    hint changed in the prompt. A batch is committed before it is used, so a crash loses nothing.

    Args:
        model: the large model.
        folder: where the file lies; made when missing.
        dataset: name of the data set that the sample ids refer to.
    """

    file: str
    schema: str
    model: LargeModel
    keeps_own_answers = True

    def __init__(self, model: LargeModel, folder: str, dataset: str):
        self.model, self.dataset = model, dataset
        self.paid, self.uses_hint = model.paid, model.uses_hint
        self.path = Path(folder) / self.file
        try:
            self._connection = open_database(self.path)
            # a commit does not wait for the disk: a killed process loses nothing, a power cut at most what
            # can be asked again
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(self.schema)
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"--model.cache: {self.path} cannot be used: {error}; give a folder to write to"
            ) from error

    def load(self, class_names: list[str], device: torch.device) -> None:
        self.model.load(class_names, device)
        self._key = f"{self.model.identity} {self.dataset}"

    @property
    def identity(self) -> str:
        return self.model.identity

    def prompt_keys(self, query: Query) -> list[bytes]:
        return self.model.prompt_keys(query)

    def check_before_fit(self) -> None:
        self.model.check_before_fit()

    def usage(self) -> dict:
        return self.model.usage()

    def keys(self, query: Query, sample_ids: list[int]) -> list[tuple[int, bytes]]:
        """Sample id and digest of the prompt of each sample."""
        return list(zip(sample_ids, map(digest, self.model.prompt_keys(query)), strict=True))

    def stored(
        self, table: str, columns: str, sample_ids: list[int]
    ) -> dict[tuple[int, bytes], Sequence[Any]]:
        """What a table has of some samples, by sample id and digest of the prompt."""
        found = {}
        for start in range(0, len(sample_ids), 10_000):  # SQLite takes 32,766 parameters a statement
            part = sample_ids[start : start + 10_000]
            places = ",".join("?" * len(part))
            query = f"SELECT sample, prompt, {columns} FROM {table} WHERE model = ? AND sample IN ({places})"
            for sample, prompt, *values in self._connection.execute(query, [self._key, *part]):
                found[sample, prompt] = values
        return found

    def insert(self, table: str, rows: list[tuple]) -> None:
        """Writes rows, each a key and values, all or none of them."""
        if rows:
            places = ", ".join("?" * (1 + len(rows[0])))
            with self._connection:
                self._connection.executemany(
                    f"INSERT OR REPLACE INTO {table} VALUES ({places})", [(self._key, *row) for row in rows]
                )


class CachedClassifier(CachedModel, LargeClassifier):
    """A large classifier whose distributions are kept on disk."""

    model: LargeClassifier
    file, schema = (
        "answers.sqlite",
        """CREATE TABLE IF NOT EXISTS distributions (
    model TEXT, sample INTEGER, prompt BLOB, positions INTEGER, value BLOB,
    PRIMARY KEY (model, sample, prompt)) WITHOUT ROWID""",
    )

    def distribution(self, query: Query) -> Tensor:
        """Distributions out of the file; what is not there is asked and stored."""
        if query.sample_ids is None:
            return self.model.distribution(query)
        sample_ids = query.sample_ids.tolist()
        keys = self.keys(query, sample_ids)
        stored = self.stored("distributions", "positions, value", sample_ids)
        found = [_unpacked(*stored[key]) if key in stored else None for key in keys]
        missing = [row for row, value in enumerate(found) if value is None]
        if missing:
            whole = len(missing) == len(found)
            fresh = self.model.distribution(query if whole else query.rows(torch.tensor(missing)))
            values = fresh.float().cpu().numpy()
            answered = (~np.isnan(values).any(axis=(1, 2))).nonzero()[0].tolist()
            self.insert("distributions", [(*keys[missing[i]], *_packed(values[i])) for i in answered])
            if whole:
                return fresh
            for row, value in zip(missing, values, strict=True):
                found[row] = value
        whole_batch = cast(list[np.ndarray], found)  # nothing is missing now
        return torch.from_numpy(np.stack(whole_batch)).to(query.sample_ids.device)  # (B, L, V)


def _packed(value: np.ndarray) -> tuple[int, bytes]:
    return value.shape[0], value.astype("<f4").tobytes()


def _unpacked(positions: int, value: bytes) -> np.ndarray:
    return np.frombuffer(value, dtype="<f4").reshape(positions, -1)


def digest(prompt: bytes) -> bytes:
    """Sixteen bytes that stand for a prompt; none for a plain one."""
    return hashlib.blake2b(prompt, digest_size=16).digest() if prompt else b""
