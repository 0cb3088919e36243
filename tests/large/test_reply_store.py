"""The file of replies: reservations, damage, and a disk that is full."""

import multiprocessing
import resource
import signal
import socket
import sqlite3
import time
from pathlib import Path

import pytest
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Chat, owners
from kcm_lightning.large.budget import Budget, Cost
from kcm_lightning.large.reply_store import Limit, Reply, ReplyStore, Request, UnderWay
from kcm_lightning.utils.errors import InputError
from tests.large.scripted_server import ScriptedServer, reply

REQUEST = Request("key", "inference", Cost(0, 100, 8, 0.5), seconds=60.0)


def as_of(path: Path, owner: str, expires: float | None) -> None:
    """Makes what is under way another process's."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE under_way SET owner = ?, expires = ?", (owner, expires))


def killed_under_way(path: Path, owner: str, expires: float | None) -> None:
    ReplyStore(str(path)).begin(REQUEST, [])
    as_of(path, owner, expires)


@pytest.mark.parametrize(
    ("owner", "left"),
    [
        ("another-machine 1 abc", -11.0),  # its time is over
        ("another-machine 1 abc", None),  # of an earlier version
        ("another-machine 1 abc", 1e9),  # noted by a wrong clock
        (f"{socket.gethostname()} 4194303 abc", 50.0),  # no such process here
    ],
)
def test_requests_of_ended_processes_are_booked_at_the_most_and_asked_again(tmp_path, owner, left):
    path = tmp_path / "a.sqlite"
    killed_under_way(path, owner, None if left is None else time.time() + left)
    store = ReplyStore(str(path))
    assert store.cut_off == 1 and store.spent() == Cost(1, 100, 8, 0.5)
    assert store.begin(REQUEST, [], wait=True) is None
    assert store.spent().requests == 2


def test_a_process_with_the_number_of_this_one_is_an_earlier_one(tmp_path):
    """A container that was started again under the same name: all its processes have number 1."""
    path = tmp_path / "a.sqlite"
    mine = owners.new_owner().rsplit(" ", 1)[0]
    killed_under_way(path, f"{mine} of-before", time.time() + 50)
    assert ReplyStore(str(path)).cut_off == 1


def test_requests_of_other_machines_are_waited_for_and_hold_their_budget(tmp_path):
    path = tmp_path / "a.sqlite"
    killed_under_way(path, "another-machine 1 abc", time.time() + 50)
    store = ReplyStore(str(path))
    assert store.cut_off == 0
    with pytest.raises(UnderWay):
        store.begin(REQUEST, [], wait=True)
    other = Request("other", "inference", Cost(0, 100, 8, 0.5), seconds=60.0)
    with pytest.raises(Exception, match="tokens"):
        store.begin(other, [Limit(Budget(tokens=200))])
    as_of(path, "another-machine 1 abc", time.time() - 11)
    assert store.begin(REQUEST, [], wait=True) is None and store.cut_off == 1  # told while it runs


def test_the_wait_for_a_container_that_was_killed_is_said_and_ends(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(owners, "CLOCKS", 0.2)
    with ScriptedServer(lambda asked, number: (200, reply())) as server:
        model = Chat("judge-1", server.url, answers=str(tmp_path / "a.sqlite"), timeout=5.0, prompt="{text}")
        model.load(["negative", "positive"], torch.device("cpu"))
        model.answer(Query(["y"]))
        request = Request(model.requests.key(model.messages("x", None)), "inference", Cost(0, 9, 9), 5.0)
        ReplyStore(str(tmp_path / "a.sqlite")).begin(request, [])
        as_of(tmp_path / "a.sqlite", "killed-container 1 abc", time.time() + 1.0)
        assert model.answer(Query(["x"])).prediction.tolist() == [1]
    said = capsys.readouterr().out
    assert said.count("another process is asking") == 1
    assert "1 requests were under way when an earlier command stopped; they are sent again" in said
    assert model.usage()["requests"] == 3 and model.usage()["tokens_in"] == 27


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("reply", '{"content": "positive"}'),
        ("reply", "[1]"),
        ("reply", b"\x00"),
        ("reply", '{"content": 1}'),
        ("attempts", 7),
    ],
)
def test_a_reply_that_is_not_what_was_stored_is_asked_again_and_counted(tmp_path, column, value):
    with ScriptedServer(lambda asked, number: (200, reply("negative"))) as server:
        for number in range(2):
            model = Chat("judge-1", server.url, answers=str(tmp_path / "a.sqlite"), prompt="{text}")
            model.load(["negative", "positive"], torch.device("cpu"))
            assert model.answer(Query(["x"])).prediction.tolist() == [0]
            if number == 0:
                with sqlite3.connect(tmp_path / "a.sqlite") as file:
                    file.execute(f"UPDATE replies SET {column} = ?", (value,))
        assert len(server.asked) == 2 and model.usage()["this_command"]["damaged_replies_asked_again"]


def _ask(url: str, path: str, room: int, pipe) -> None:
    """Asks where no file may grow beyond some size: it stands for a full disk, on which writing fails too."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    model = Chat("judge-1", url, answers=path, prompt="{text}", concurrency=2)
    try:
        model.load(["negative", "positive"], torch.device("cpu"))
        pipe.send(model.answer(Query([f"text {i}" for i in range(300)])).prediction.tolist())
    except InputError as error:
        pipe.send(str(error))


def test_a_full_disk_stops_the_asking_and_loses_no_more_than_is_under_way(tmp_path):
    path = tmp_path / "a.sqlite"
    forking = multiprocessing.get_context("fork")
    with ScriptedServer(lambda asked, number: (200, reply())) as server:

        def ask(room: int) -> str | list[int]:
            near, far = forking.Pipe()
            process = forking.Process(target=_ask, args=(server.url, str(path), room, far))
            process.start()
            assert near.poll(60)
            said = near.recv()
            process.join()
            return said

        said = ask(200_000)
        assert "cannot be written to" in said and "make room, and run the same command again" in said
        assert "rollback" not in said and "\n" not in said
        asked = len(server.asked)
        assert 5 < asked < 290
        with sqlite3.connect(path) as file:
            kept = file.execute("SELECT count(*) FROM replies").fetchone()[0]
        assert asked - kept <= 2  # what was under way
        assert ask(resource.RLIM_INFINITY) == [1] * 300
        assert len(server.asked) <= 300 + 2


def test_a_transaction_that_fails_is_none(tmp_path):
    """SQLite itself ends a transaction where the disk is full."""
    store = ReplyStore(str(tmp_path / "a.sqlite"))
    store.begin(REQUEST, [])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(InputError, match=r"cannot be written to \(database or disk is full\)"):
        store.settle(REQUEST, Cost(), Reply("x" * 100_000))
    store._connection.execute("PRAGMA max_page_count = 100000")
    store.settle(REQUEST, Cost(0, 5, 1), Reply("positive"))
    assert store.read(["key"])["key"][0].content == "positive" and store.spent() == Cost(1, 5, 1)
