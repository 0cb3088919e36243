"""Signals that stop a command."""

import os
import pty
import signal
import sys
import time

import pytest

from kcm_lightning.utils.signals import stopped_by_signals


@pytest.fixture(autouse=True)
def not_in_the_background():
    """A script's shell lets what it starts in the background ignore Ctrl-C, and `nohup` a lost terminal."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_interrupts_and_names_its_status(number, status):
    before = signal.getsignal(number)
    with stopped_by_signals() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
        time.sleep(1)
    assert stop.status == status and str(stop) == f"stopped by {number.name}"
    assert signal.getsignal(number) is before


def test_two_at_once_are_one_and_a_later_one_ends_what_is_left(monkeypatch):
    with stopped_by_signals() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)  # the shell's, of the same moment
        time.sleep(1.1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.number is signal.SIGTERM


def test_nothing_happens_without_a_signal():
    with stopped_by_signals() as stop:
        pass
    assert stop.number is None and str(stop) == "not stopped"


def test_a_process_that_was_forked_off_ends_as_always():
    with stopped_by_signals() as stop:
        child = os.fork()
        if not child:
            time.sleep(20)
            os._exit(0)
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
    assert stop.number is None


def test_a_signal_that_is_ignored_stays_so():
    """As in the background of a script, or under nohup."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopped_by_signals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        assert stop.number is None
    finally:
        signal.signal(signal.SIGINT, before)


_STOPPED = """
import sys, time
from pathlib import Path
from kcm_lightning.utils.signals import stopped_by_signals
with stopped_by_signals() as stop:
    try:
        print("ready", flush=True)
        time.sleep(20)
    except KeyboardInterrupt:
        print("a bill", flush=True)
        print("a bill", file=sys.stderr, flush=True)
        Path(sys.argv[1]).write_text(str(stop))
sys.exit(stop.status)
"""


def test_a_terminal_that_goes_ends_a_command_in_good_order(tmp_path):
    """As where ssh is closed: what is printed afterwards has nowhere to go and is no error."""
    child, terminal = pty.fork()
    if not child:
        os.execv(sys.executable, [sys.executable, "-c", _STOPPED, str(tmp_path / "said")])
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 129
    assert (tmp_path / "said").read_text() == "stopped by SIGHUP"
