"""Replies of a paid model on disk, each stored before it is used, and what they have cost."""

import json
import os
import socket
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from kcm_lightning.large.budget import Budget, BudgetSpent, Cost
from kcm_lightning.large.database import open_database
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
_ADD = """INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT (purpose) DO UPDATE SET
    requests = requests + excluded.requests, tokens_in = tokens_in + excluded.tokens_in,
    tokens_out = tokens_out + excluded.tokens_out, money = money + excluded.money"""


@dataclass
class Reply:
    """What a chat model said.

    Args:
        content: its words; empty where it said none or refused.
        probability: probability of these words, a fraction in [0, 1]; None where the server does not say.
    """

    content: str
    probability: float | None


@dataclass
class Request:
    """A question that is about to be sent.

    Args:
        key: digest of the question.
        purpose: what it is asked for, by which costs are counted apart.
        most: the most that it can cost.
    """

    key: str
    purpose: str
    most: Cost


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
    """An SQLite file of replies by the digest of the question.

    It is safe to kill at any moment and to share between processes.

    A request and the most that it can cost are noted before it is sent, its reply before it is used. So a
    restart asks nothing twice but what was under way, several processes ask nothing twice, and no budget is
    exceeded by what is on its way.

    Args:
        path: the file; its folder is made.

    Attributes:
        cut_off: requests that were under way when an earlier process ended. They count as having cost the
            most they could.
    """

    def __init__(self, path: str):
        self.path, self._lock = Path(path), threading.Lock()
        self._owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        try:
            self._connection = open_database(self.path, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA synchronous=FULL")  # what was paid for survives a power cut too
            self._connection.executescript(_SCHEMA)
            self.cut_off = self._settle_what_was_cut_off()
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"--model.teacher.answers: {self.path} cannot be used: {error}") from error

    def read(self, keys: list[str]) -> dict[str, tuple[Reply, int]]:
        """The replies that are there, and how often each question was answered."""
        found: dict[str, tuple[Reply, int]] = {}
        for start in range(0, len(keys), 10_000):  # SQLite takes 32,766 parameters a statement
            part = keys[start : start + 10_000]
            query = f"SELECT key, reply, attempts FROM replies WHERE key IN ({','.join('?' * len(part))})"
            with self._lock:
                rows = self._connection.execute(query, part).fetchall()
            found |= {key: (Reply(**json.loads(reply)), attempts) for key, reply, attempts in rows}
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
            query = "SELECT reply, attempts FROM replies WHERE key = ? AND attempts > ?"
            for reply, times in self._connection.execute(query, (request.key, attempts)):
                return Reply(**json.loads(reply)), times
            query = "SELECT owner FROM under_way WHERE key = ? AND owner <> ?"
            others = self._connection.execute(query, (request.key, self._owner))
            if wait and any(_lives(owner) for (owner,) in others):
                raise UnderWay
            most = request.most
            for limit in limits:
                known = self._spent(limit.purpose) + self._reserved(limit.purpose)
                if name := limit.budget.exceeded_by(known + most + Cost(requests=1)):
                    raise BudgetSpent(name)
            row = (request.key, self._owner, request.purpose, most.tokens_in, most.tokens_out, most.money)
            self._connection.execute("INSERT OR REPLACE INTO under_way VALUES (?, ?, ?, ?, ?, ?)", row)
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
                row = (request.key, json.dumps(vars(reply)), attempts)
                self._connection.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", row)

    def note_that_it_answers(self, model: str) -> None:
        """Notes that a model has answered something; `model` stands for the model and how it is asked."""
        with self._transaction():
            self._connection.execute("INSERT OR IGNORE INTO answering VALUES (?)", (model,))

    def answers(self, model: str) -> bool:
        """Whether a model has ever answered anything."""
        with self._lock:
            return (
                self._connection.execute("SELECT 1 FROM answering WHERE model = ?", (model,)).fetchone()
                is not None
            )

    def spent(self) -> Cost:
        """Requests, tokens and money over the life of the file."""
        with self._lock:
            return self._spent(None)

    def _spent(self, purpose: str | None) -> Cost:
        return Cost(*self._sums("requests, tokens_in, tokens_out, money", "spent", purpose))

    def _reserved(self, purpose: str | None) -> Cost:
        return Cost(0, *self._sums("tokens_in, tokens_out, money", "under_way", purpose))

    def _sums(self, columns: str, table: str, purpose: str | None) -> tuple:
        sums = ", ".join(f"coalesce(sum({column}), 0)" for column in columns.split(", "))
        where, values = ("", ()) if purpose is None else (" WHERE purpose = ?", (purpose,))
        return self._connection.execute(f"SELECT {sums} FROM {table}{where}", values).fetchone()

    def _settle_what_was_cut_off(self) -> int:
        """Books requests of ended processes at the most that they can have cost; returns their number."""
        with self._transaction():
            owners = [owner for (owner,) in self._connection.execute("SELECT DISTINCT owner FROM under_way")]
            dead = [owner for owner in owners if not _lives(owner)]
            count = 0
            for owner in dead:
                query = "SELECT purpose, tokens_in, tokens_out, money FROM under_way WHERE owner = ?"
                for purpose, *cost in self._connection.execute(query, (owner,)).fetchall():
                    self._connection.execute(_ADD, (purpose, *astuple(Cost(0, *cost))))
                    count += 1
                self._connection.execute("DELETE FROM under_way WHERE owner = ?", (owner,))
        return count

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


def _lives(owner: str) -> bool:
    """Whether the process that an owner stands for may still run; one on another host is believed to."""
    host, pid, _ = owner.rsplit(" ", 2)
    if host != socket.gethostname():
        return True
    if int(pid) == os.getpid():  # an earlier process had this number
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
