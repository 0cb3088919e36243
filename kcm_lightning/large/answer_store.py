"""Replies of a paid model on disk, each stored before it is used, and what they have cost."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kcm_lightning.errors import InputError
from kcm_lightning.large.budget import Budget, BudgetSpent, Prices

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, purpose TEXT, reply TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
    purpose TEXT PRIMARY KEY, requests INTEGER, tokens_in INTEGER, tokens_out INTEGER) WITHOUT ROWID;"""
_ADD = """INSERT INTO spent VALUES (:purpose, :requests, :tokens_in, :tokens_out) ON CONFLICT (purpose) DO UPDATE SET
    requests = requests + :requests, tokens_in = tokens_in + :tokens_in, tokens_out = tokens_out + :tokens_out"""


@dataclass
class Reply:
    """What a chat model said.

    Args:
        content: its words.
        probability: of these words, a fraction in [0, 1]; None where the server does not say.
        tokens_in, tokens_out: that the server counted.
    """

    content: str
    probability: float | None
    tokens_in: int = 0
    tokens_out: int = 0


class AnswerStore:
    """An SQLite file of replies by the digest of the question, safe to kill at any moment.

    A request is noted before it is sent, a reply before it is used. So a restart asks nothing twice but what was under way.

    Args:
        path: the file; its folder is made.
        prices: of tokens.
    """

    def __init__(self, path: str, prices: Prices):
        self.path, self.prices, self._lock = Path(path), prices, threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"--model.teacher.answers: {self.path} cannot be used: {error}") from error
        self._under_way: dict[str, int] = {}  # most tokens that each request under way can cost
        query = "SELECT count(*) FROM calls WHERE reply IS NULL"
        self.cut_off = self._connection.execute(query).fetchone()[0]

    def read(self, keys: list[str]) -> dict[str, Reply]:
        """The replies that are there."""
        found = {}
        for start in range(0, len(keys), 10_000):  # SQLite takes 32,766 parameters a statement
            part = keys[start : start + 10_000]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, reply FROM calls WHERE reply IS NOT NULL AND key IN ({marks})"
            with self._lock:
                rows = self._connection.execute(query, part).fetchall()
            found |= {key: Reply(**json.loads(reply)) for key, reply in rows}
        return found

    def begin(self, key: str, purpose: str, most_tokens: int, budgets: list[tuple[str | None, Budget]]) -> None:
        """Notes a request that is about to be sent.

        Args:
            key: digest of the question.
            purpose: what it is asked for.
            most_tokens: that it can cost.
            budgets: each with the purpose whose costs it limits, None for all.

        Raises:
            BudgetSpent: the request could exceed a budget; nothing was noted.
        """
        with self._transaction():
            for limited, budget in budgets:
                calls, tokens_in, tokens_out = self._spent(limited)
                reserved = sum(self._under_way.values()) + most_tokens
                dearest = max(self.prices.input, self.prices.output) * reserved / 1e6
                money = self.prices.of(tokens_in, tokens_out) + dearest
                limit = budget.exceeded_by(calls + 1, tokens_in + tokens_out + reserved, money)
                if limit:
                    raise BudgetSpent(limit)
            self._connection.execute("INSERT OR IGNORE INTO calls VALUES (?, ?, NULL)", (key, purpose))
            self._add(purpose, requests=1)
            self._under_way[key] = most_tokens

    def failed(self, key: str) -> None:
        """Notes that a request came to nothing."""
        with self._lock:
            self._under_way.pop(key, None)

    def arrived(self, key: str, purpose: str, tokens_in: int, tokens_out: int) -> None:
        """Notes what a reply cost, whether it can be used or not."""
        with self._transaction():
            self._add(purpose, tokens_in=tokens_in, tokens_out=tokens_out)
            self._under_way.pop(key, None)

    def finish(self, key: str, reply: Reply) -> None:
        """Stores a reply; what it cost has been noted."""
        with self._lock:
            self._connection.execute("UPDATE calls SET reply = ? WHERE key = ?", (json.dumps(vars(reply)), key))

    def spent(self) -> dict:
        """Requests, tokens and money over the life of the file."""
        with self._lock:
            calls, tokens_in, tokens_out = self._spent(None)
        return {
            "requests": calls,
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "money": self.prices.of(tokens_in, tokens_out),
        }

    def _spent(self, purpose: str | None) -> tuple[int, int, int]:
        query = "SELECT coalesce(sum(requests), 0), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_out), 0) FROM spent"
        where, values = ("", ()) if purpose is None else (" WHERE purpose = ?", (purpose,))
        return self._connection.execute(query + where, values).fetchone()

    def _add(self, purpose: str, requests: int = 0, tokens_in: int = 0, tokens_out: int = 0) -> None:
        row = {"purpose": purpose, "requests": requests, "tokens_in": tokens_in, "tokens_out": tokens_out}
        self._connection.execute(_ADD, row)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One step at a time, over the threads of this process and over processes."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
