"""Commands that a signal stops while they ask a paid model, and what each of them leaves and prints."""

import json
import os
import re
import resource
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest

from kcm_lightning.cli import main
from kcm_lightning.large import event_loop
from tests.data.review_files import rows, write
from tests.large.scripted_server import ScriptedServer, reply

pytestmark = pytest.mark.slow
CONCURRENCY = 4


class Asked(ScriptedServer):
    """Answers, and sends this process a signal when it is asked for the n-th time.

    Args:
        number: of the signal.
        at: n; None for no signal.
        hangs: whether what is asked from then on is never answered.
    """

    def __init__(self, number: int | None = None, at: int | None = None, hangs: bool = False):
        super().__init__(self.answer)
        self.number, self.at, self.hangs, self.late = number, at, hangs, 0
        self.told, self.closed = 0.0, threading.Event()

    def answer(self, asked: dict, number: int):
        if self.told and time.monotonic() > self.told + 0.1:
            self.late += 1
        if number == self.at:
            self.told = time.monotonic()
            os.kill(os.getpid(), self.number)
        time.sleep(0.05)
        if self.told and self.hangs:
            self.closed.wait(30)
        return 200, reply("positive")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, word_tokenizer) -> tuple[Path, list[str]]:
    """A folder with a run, and the options of its data and models."""
    folder = tmp_path_factory.mktemp("reviews")
    write(folder / "reviews_Baby_5.json.gz", rows(300, seed=1))
    words = len(json.loads((word_tokenizer / "tokenizer.json").read_text())["model"]["vocab"])
    options = [
        *(f"--data.root={folder}", "--data.category=Baby", f"--data.tokenizer={word_tokenizer}"),
        *("--data.max_tokens=40", "--data.eval_batch_size=32", "--model.teacher.model=judge-1"),
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
        *(f"--model.judge.vocab_size={words}", "--model.judge.embedding=8", "--model.judge.width=4"),
        *("--model.judge_phase.epochs=1", "--model.student_phase.epochs=1"),
        *(f"--model.teacher.concurrency={CONCURRENCY}", "--model.teacher.timeout=20"),
        *("--model.thresholds.judge=null", "--model.thresholds.student=null"),
        f"--model.teacher.answers={folder}/answers.sqlite",
        *("--model.teacher.prices.currency=EUR", "--model.teacher.budget.money=null"),
    ]
    with pytest.MonkeyPatch.context() as patch, ScriptedServer(lambda *_: (200, reply())) as server:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["kcm_lightning"])
        main(["fit", "--config", "apd_chat.yaml", *options, f"--model.teacher.base_url={server.url}"])
        assert not server.asked
    return folder, options


@pytest.fixture(autouse=True)
def not_in_the_background():
    """A script's shell lets what it starts in the background ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def run(fitted, monkeypatch):
    """Runs a command in that folder, with fresh answers; returns its exit status."""
    folder, options = fitted
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["kcm_lightning"])
    for path in folder.glob("answers.sqlite*"):
        path.unlink()

    def run(server: ScriptedServer, command: str, *more: str) -> int:
        url = f"--model.teacher.base_url={server.url}"
        try:
            main([command, "--config", "apd_chat.yaml", *options, url, *more])
        except SystemExit as end:
            return int(end.code)
        return 0

    run.folder = folder
    return run


def stored(folder: Path) -> int:
    return sqlite3.connect(folder / "answers.sqlite").execute("SELECT count(*) FROM replies").fetchone()[0]


GRANTED = ["--model.teacher.fit_budget.calls=1000", "--model.judge_phase.epochs=0"]
COMMANDS = {
    "test": ("test", signal.SIGTERM, []),
    "calibrate": ("calibrate", signal.SIGINT, ["--target", "accuracy_drop=0.1"]),
    "predict": ("predict", signal.SIGTERM, []),
    "validate": ("validate", signal.SIGINT, []),
    "fit": ("fit", signal.SIGTERM, [*GRANTED, "--run=runs/other"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_asked_after_a_signal_and_nothing_is_lost(run, capsys, name):
    command, number, more = COMMANDS[name]
    with Asked(number, at=9) as server:
        assert run(server, command, *more) == 128 + number
        asked = len(server.asked)
        assert server.late == 0 and 10 <= asked <= 10 + CONCURRENCY
        assert stored(run.folder) == asked  # what was under way was waited for
        printed = capsys.readouterr()
        assert printed.out.count(f"large model: requests {asked}, ") == 1  # the bill
        said = printed.err.strip().splitlines()
        goes_on = f"python -m kcm_lightning {command} --config apd_chat.yaml"
        assert said[-1].startswith(f"stopped by {number.name}: what was done is kept. To go on: {goes_on}")
        assert "Traceback" not in "".join(said)
        if name not in ("test", "fit"):
            return
        server.at = None
        assert run(server, command, *more) == 0
        assert len(set(server.questions)) == len(server.asked)  # none of them twice


def test_a_hanging_server_is_waited_for_as_long_as_stated(run, monkeypatch, capsys):
    monkeypatch.setattr(event_loop, "WAITING", 1.0)
    with Asked(signal.SIGINT, at=9, hangs=True) as server:
        assert run(server, "test") == 130
        assert time.monotonic() - server.told < 6
        asked = len(server.asked)
        server.closed.set()
        assert asked <= 10 + CONCURRENCY and 10 - CONCURRENCY <= stored(run.folder) < asked
        assert "stopped by SIGINT" in capsys.readouterr().err
        server.at, server.told = None, 0.0
        assert run(server, "test") == 0
    path = run.folder / "answers.sqlite"
    assert sqlite3.connect(path).execute("SELECT count(*) FROM under_way").fetchone() == (0,)


def test_commands_that_bought_print_a_bill_with_currency_and_price_of_a_thousand(run, capsys):
    with Asked() as server:
        assert run(server, "calibrate", "--target", "accuracy_drop=0.1", "--output", "bill.yaml") == 0
        said, asked = capsys.readouterr().out, len(server.asked)
        # 9 tokens in at 0.15 and 1 out at 0.6 for a million
        price = (9 * 0.15 + 0.6) / 1e6
        assert f"large model: requests {asked}, tokens in {9 * asked}, tokens out {asked}" in said
        assert f"money {price * asked:.6g} EUR" in said
        assert f"money per 1,000 questions {1000 * price:.6g} EUR" in said
        bill = json.loads((run.folder / "bill.json").read_text())["large_model"]
        assert bill["requests"] == asked and bill["money"] == pytest.approx(price * asked)
        for command in ("validate", "test", "predict"):
            assert run(server, command) == 0
            assert f"money per 1,000 questions {1000 * price:.6g} EUR" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["test", "calibrate"])
def test_a_command_whose_replies_are_off_format_is_no_success(run, capsys, command):
    more = ["--target", "accuracy_drop=0.1", "--output=off.yaml"] if command == "calibrate" else []
    with ScriptedServer(lambda *_: (200, reply("I cannot say."))) as server:
        assert run(server, command, *more) == 2
        assert len(server.asked) < 60
    printed = capsys.readouterr()
    assert re.search(r"error: \d+ of \d+ replies of the large model name no class", printed.err)
    assert printed.out.count("large model: requests") == 1
    assert not (run.folder / "off.yaml").exists()


def test_a_full_disk_in_fit_is_a_line_that_goes_on(run, capsys):
    """A limit of the size of files stands for the disk: writing a checkpoint fails half-way."""
    with Asked() as server:
        assert run(server, "fit", "--run=runs/full", "--model.judge_phase.epochs=1") == 0
        last = run.folder / "runs" / "full" / "checkpoints" / "last.ckpt"
        before, limits = last.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
        more = ["--run=runs/full", "--ckpt_path=last", "--model.judge_phase.epochs=3"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        try:
            assert run(server, "fit", *more) == 2
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert re.match(
            r"error: \S+/checkpoints/\S+\.ckpt cannot be written .*: make room\. To go on: python", said
        )
        assert last.read_bytes() == before and {path.name for path in last.parent.iterdir()} <= {
            "best.ckpt",
            "last.ckpt",
        }
        assert run(server, "fit", *more) == 0
