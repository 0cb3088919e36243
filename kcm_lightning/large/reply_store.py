"""Replies of a paid model on disk, each stored before it is used, and what they have cost."""

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from kcm_lightning.large.budget import Budget, BudgetSpent, Cost
from kcm_lightning.large.database import open_database
from kcm_lightning.large.owners import has_ended, new_owner
from kcm_lightning.utils.errors import InputError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT, attempts INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS under_way (
    key TEXT, owner TEXT, purpose TEXT, tokens_in INTEGER, tokens_out INTEGER, money REAL,
    PRIMARY KEY (key, owner)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answering (model TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
    purpose TEXT PRIMARY KEY, requests INTEGER, tokens_in INTEGER, tokens_out INTEGER, money REAL
    ) WITHOUT ROWID;"""
_LATER_COLUMNS = (("replies", "checksum", "TEXT"), ("under_way", "expires", "REAL"))
_ADD = """INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT (purpose) DO UPDATE SET
    requests = requests + excluded.requests, tokens_in = tokens_in + excluded.tokens_in,
    tokens_out = tokens_out + excluded.tokens_out, money = money + excluded.money"""


@dataclass
class Reply:
    """What a chat model said.

    Args:
        content: its words; empty where it said none or refused.
        probability: probability of these words, a fraction in [0, 1]; None where the server does not say.
        refused: why the server refuses the question; None where it does not.
        cut: whether the words were cut off for their length.
        money: what the reply cost when it was bought; None where that is not known.
        others: probabilities of the tokens that its answer could have begun with; None where they were not
            asked for.
    """

    content: str
    probability: float | None = None
    refused: str | None = None
    cut: bool = False
    money: float | None = None
    others: dict[str, float] | None = None


@dataclass
class Request:
    """A question that is about to be sent.

    Args:
        key: digest of the question.
        purpose: what it is asked for, by which costs are counted apart.
        most: the most that it can cost.
        seconds: the most time that it can take. If its process has ended by then without a word, which
            another machine cannot see, its question is asked again.
    """

    key: str
    purpose: str
    most: Cost
    seconds: float


@dataclass
class Limit:
    """A budget, and what it limits.

    Args:
        budget: the limit.
        purpose: what the requests are asked for whose costs it limits; None for all.
    """

    budget: Budget
    purpose: str | None = None


class UnderWay(Exception):
    """Another process is asking the same question."""


class ReplyStore:
    """An SQLite file of replies by the digest of the question, each with a checksum.

    It is safe to kill at any moment and to share between processes.

    A request and the most that it can cost are noted before it is sent, its reply before it is used. So a
    restart asks nothing twice but what was under way, several processes ask nothing twice, and no budget is
    exceeded by what is on its way.

    Args:
        path: the file; its folder is made.

    Attributes:
        cut_off: requests that were under way when their process ended. They count as having cost the most
            they could.
        damaged: stored replies that are not what was stored; they count as missing.

    Raises:
        InputError: as every method: the file cannot be read or written.
    """

    def __init__(self, path: str):
        self.path, self._lock = Path(path), threading.Lock()
        self._owner, self.cut_off, self.damaged = new_owner(), 0, 0
        try:
            self._connection = open_database(self.path, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA synchronous=FULL")  # what was paid for survives a power cut too
            self._connection.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"--model.teacher.answers: {self.path} cannot be used: {error}") from error
        with self._transaction():
            for table, column, kind in _LATER_COLUMNS:
                if column not in [row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")]:
                    self._connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
            self._settle_what_was_cut_off("1 = 1")

    def read(self, keys: list[str]) -> dict[str, tuple[Reply, int]]:
        """The replies that are there, and how often each question was answered."""
        found: dict[str, tuple[Reply, int]] = {}
        for start in range(0, len(keys), 10_000):  # SQLite takes 32,766 parameters a statement
            part = keys[start : start + 10_000]
            with self._reading():
                found |= self._replies(f"key IN ({','.join('?' * len(part))})", part)
        return found

    def _replies(self, where: str, values: list) -> dict[str, tuple[Reply, int]]:
        query = f"SELECT key, reply, attempts, checksum FROM replies WHERE {where}"
        found = {}
        for key, text, attempts, checksum in self._connection.execute(query, values).fetchall():
            try:
                if checksum not in (None, _checksum(key, text, attempts)):  # None: of an earlier version
                    raise ValueError("not what was stored")
                reply = Reply(**json.loads(text))
                if not isinstance(reply.content, str) or not isinstance(attempts, int):
                    raise TypeError("no reply")
                found[key] = reply, attempts
            except (ValueError, TypeError):
                self.damaged += 1
        return found

    def begin(
        self, request: Request, limits: list[Limit], *, attempts: int = 0, wait: bool = False
    ) -> tuple[Reply, int] | None:
        """Notes a request that is about to be sent.

        Args:
            request: the request.
            limits: budgets that it must keep to.
            attempts: how often the question was answered, as far as is known.
            wait: whether not to ask what another process is asking.

        Returns:
            A reply, and how often the question was answered, where another process has stored one meanwhile;
            then nothing was noted.

        Raises:
            BudgetSpent: the request could exceed a budget; nothing was noted.
            UnderWay: another process is asking, and `wait`; nothing was noted.
        """
        with self._transaction():
            stored = self._replies("key = ? AND attempts > ?", [request.key, attempts])
            if request.key in stored:
                return stored[request.key]
            self._settle_what_was_cut_off("key = ?", request.key)
            query = "SELECT 1 FROM under_way WHERE key = ? AND owner <> ?"
            if wait and self._connection.execute(query, (request.key, self._owner)).fetchone():
                raise UnderWay
            most = request.most
            for limit in limits:
                known = self._spent(limit.purpose) + self._reserved(limit.purpose)
                if name := limit.budget.exceeded_by(known + most + Cost(requests=1)):
                    raise BudgetSpent(name)
            row = (request.key, self._owner, request.purpose, most.tokens_in, most.tokens_out, most.money)
            query = """INSERT OR REPLACE INTO under_way
                (key, owner, purpose, tokens_in, tokens_out, money, expires) VALUES (?, ?, ?, ?, ?, ?, ?)"""
            self._connection.execute(query, (*row, time.time() + request.seconds))
            self._connection.execute(_ADD, (request.purpose, 1, 0, 0, 0.0))
        return None

    def settle(self, request: Request, cost: Cost, reply: Reply | None = None, *, attempts: int = 1) -> None:
        """Notes what became of a request: what it has cost, and its reply if there is one to keep.

        Args:
            request: the request, as it was given to `begin`.
            cost: tokens and money; the request itself was counted.
            reply: the reply to store, if any.
            attempts: how often the question has been answered, or more where it shall not be asked again.
        """
        with self._transaction():
            query = "DELETE FROM under_way WHERE key = ? AND owner = ?"
            self._connection.execute(query, (request.key, self._owner))
            self._connection.execute(_ADD, (request.purpose, 0, cost.tokens_in, cost.tokens_out, cost.money))
            if reply is not None:
                self._keep(request.key, reply, attempts)

    def keep(self, key: str, reply: Reply, attempts: int) -> None:
        """Stores what became of a question whose costs are settled."""
        with self._transaction():
            self._keep(key, reply, attempts)

    def _keep(self, key: str, reply: Reply, attempts: int) -> None:
        text = json.dumps(vars(reply))
        query = "INSERT OR REPLACE INTO replies (key, reply, attempts, checksum) VALUES (?, ?, ?, ?)"
        self._connection.execute(query, (key, text, attempts, _checksum(key, text, attempts)))

    def forget(self, keys: list[str]) -> None:
        """Takes stored replies out, so that their questions are asked again."""
        with self._transaction():
            self._connection.executemany("DELETE FROM replies WHERE key = ?", [(key,) for key in keys])

    def note_that_it_answers(self, model: str) -> None:
        """Notes that a model has answered something; `model` stands for the model and how it is asked."""
        with self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO answering VALUES (?)", (model,))

    def answers(self, model: str) -> bool:
        """Whether a model has ever answered anything."""
        with self._reading():
            query = "SELECT 1 FROM answering WHERE model = ?"
            return self._connection.execute(query, (model,)).fetchone() is not None

    def spent(self) -> Cost:
        """Requests, tokens and money over the life of the file."""
        with self._reading():
            return self._spent(None)

    def _spent(self, purpose: str | None) -> Cost:
        return Cost(*self._sums("requests, tokens_in, tokens_out, money", "spent", purpose))

    def _reserved(self, purpose: str | None) -> Cost:
        return Cost(0, *self._sums("tokens_in, tokens_out, money", "under_way", purpose))

    def _sums(self, columns: str, table: str, purpose: str | None) -> tuple:
        sums = ", ".join(f"coalesce(sum({column}), 0)" for column in columns.split(", "))
        where, values = ("", ()) if purpose is None else (" WHERE purpose = ?", (purpose,))
        return self._connection.execute(f"SELECT {sums} FROM {table}{where}", values).fetchone()

    def _settle_what_was_cut_off(self, where: str, *values: str) -> None:
        """Books requests of ended processes at the most that they can have cost."""
        query = (
            f"SELECT key, owner, expires, purpose, tokens_in, tokens_out, money FROM under_way WHERE {where}"
        )
        for key, owner, expires, purpose, *cost in self._connection.execute(query, values).fetchall():
            if owner != self._owner and has_ended(owner, expires):
                self._connection.execute(_ADD, (purpose, *astuple(Cost(0, *cost))))
                query = "DELETE FROM under_way WHERE key = ? AND owner = ?"
                self._connection.execute(query, (key, owner))
                self.cut_off += 1

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise InputError(f"--model.teacher.answers: {self.path} cannot be read: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One step at a time, over the threads of this process and over processes."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:  # SQLite ends it itself where the disk is full
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise InputError(
                    f"--model.teacher.answers: {self.path} cannot be written to ({error}): nothing more is "
                    "asked; make room, and run the same command again"
                ) from error


def _checksum(key: str, text: str, attempts: int) -> str:
    return hashlib.blake2b(f"{key} {attempts} {text}".encode(), digest_size=8).hexdigest()
