"""Answers of a large model on disk, so that nothing is asked twice."""

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kcm_lightning.errors import InputError
from kcm_lightning.gating import take
from kcm_lightning.large.base import LargeModel
from kcm_lightning.large.database import open_database

_SCHEMA = """CREATE TABLE IF NOT EXISTS distributions (
    model TEXT, sample INTEGER, prompt BLOB, positions INTEGER, value BLOB,
    PRIMARY KEY (model, sample, prompt)) WITHOUT ROWID"""


class OnDisk(LargeModel):
    """A large model that answers a question once and from then on reads the answer from disk.

    An SQLite file, one row a question; the key is the model's identity, the data set, the sample and what the hint
    changed in the prompt. A batch is committed before it is used, so a crash loses nothing.

    Args:
        model: the large model.
        folder: where the file lies; made when missing.
        dataset: name of the data set that sample numbers refer to.
    """

    file: str
    schema: str

    def __init__(self, model: LargeModel, folder: str, dataset: str):
        self.model, self.dataset = model, dataset
        self.path = Path(folder) / self.file
        try:
            self._connection = open_database(self.path)
            # a commit does not wait for the disk: a killed process loses nothing, a power cut at most what can be asked again
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(self.schema)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"--model.cache: {self.path} cannot be used: {error}; give a folder to write to") from error

    def load(self, class_names: list[str], device: torch.device) -> None:
        self.model.load(class_names, device)
        self._key = f"{self.model.identity} {self.dataset}"

    @property
    def paid(self) -> bool:
        return self.model.paid

    @property
    def uses_hint(self) -> bool:
        return self.model.uses_hint

    @property
    def identity(self) -> str:
        return self.model.identity

    def cached(self, folder: str, dataset: str) -> LargeModel:
        return self

    def prompt_keys(self, hint: Any, size: int) -> list[bytes]:
        return self.model.prompt_keys(hint, size)

    def check_before_fit(self) -> None:
        self.model.check_before_fit()

    def usage(self) -> dict:
        return self.model.usage()

    def stored(self, table: str, columns: str, samples: list[int]) -> dict[tuple[int, bytes], tuple]:
        """What a table has of some samples, by sample and digest of the prompt."""
        found = {}
        for start in range(0, len(samples), 10_000):  # SQLite takes 32,766 parameters a statement
            part = samples[start : start + 10_000]
            query = f"SELECT sample, prompt, {columns} FROM {table} WHERE model = ? AND sample IN ({','.join('?' * len(part))})"
            for sample, prompt, *values in self._connection.execute(query, [self._key, *part]):
                found[sample, prompt] = tuple(values)
        return found


class Cached(OnDisk):
    """A large classifier whose distributions are kept on disk."""

    file, schema = "answers.sqlite", _SCHEMA

    def distribution(self, inputs: Any, hint: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        return self._ask(self.model.distribution, inputs, hint, samples)

    def teach(self, inputs: Any, hint: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        return self._ask(self.model.teach, inputs, hint, samples)

    def _ask(self, ask: Callable, inputs: Any, hint: Tensor | None, samples: Tensor | None) -> Tensor:
        if samples is None:
            return ask(inputs, hint)
        numbers = samples.tolist()
        prompts = [digest(prompt) for prompt in self.model.prompt_keys(hint, len(numbers))]
        stored = self._read(numbers)
        found = [stored.get(key) for key in zip(numbers, prompts, strict=True)]
        missing = [row for row, value in enumerate(found) if value is None]
        if missing:
            if len(missing) < len(found):
                rows = torch.tensor(missing)
                inputs, hint = take(inputs, rows), None if hint is None else take(hint, rows)
            fresh = ask(inputs, hint)
            values = fresh.float().cpu().numpy()
            answered = (~np.isnan(values).any(axis=(1, 2))).nonzero()[0].tolist()
            self._write([(numbers[missing[i]], prompts[missing[i]]) for i in answered], values[answered])
            if len(missing) == len(found):
                return fresh
            for row, value in zip(missing, values, strict=True):
                found[row] = value
        return torch.from_numpy(np.stack(found)).to(samples.device)  # (B, L, V)

    def _read(self, numbers: list[int]) -> dict[tuple[int, bytes], np.ndarray]:
        rows = self.stored("distributions", "positions, value", numbers)
        return {key: np.frombuffer(value, dtype="<f4").reshape(positions, -1) for key, (positions, value) in rows.items()}

    def _write(self, keys: list[tuple[int, bytes]], values: np.ndarray) -> None:
        rows = [
            (self._key, sample, prompt, value.shape[0], value.astype("<f4").tobytes())
            for (sample, prompt), value in zip(keys, values, strict=True)
        ]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO distributions VALUES (?, ?, ?, ?, ?)", rows)


def digest(prompt: bytes) -> bytes:
    """Sixteen bytes that stand for a prompt; none for a plain one."""
    return hashlib.blake2b(prompt, digest_size=16).digest() if prompt else b""
