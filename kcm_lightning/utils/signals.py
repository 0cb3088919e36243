"""Signals that stop a command in good order."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ONE = 1.0  # seconds within which signals are one: a launcher and the shell may both send theirs


@dataclass
class StopSignal:
    """The signal that a command was stopped by.

    Args:
        number: the signal; None while there was none.
    """

    number: signal.Signals | None = None

    def __str__(self) -> str:
        return f"stopped by {self.number.name}" if self.number else "not stopped"

    @property
    def status(self) -> int:
        """Exit status of what it has stopped: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
        return 128 + (self.number or 0)


@contextmanager
def stopped_by_signals() -> Iterator[StopSignal]:
    """Lets SIGTERM and SIGHUP stop what is done as Ctrl-C does, by KeyboardInterrupt in the main thread.

    SIGHUP comes where the terminal has gone, for instance a closed ssh; what is printed then goes nowhere.

    A further signal, after a second, interrupts what the first one has left to be done; more of them do
    nothing. Processes that are forked off, such as those that read data, end as they always do.
    """
    stop, process, times = StopSignal(), os.getpid(), list[float]()

    def handle(number: int, frame: Any) -> None:
        if os.getpid() != process and number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        stop.number = stop.number or signal.Signals(number)
        if number == signal.SIGHUP:
            _print_nowhere(terminals)
        now = time.monotonic()
        if not times or (len(times) == 1 and now - times[0] > _ONE):
            times.append(now)
            raise KeyboardInterrupt

    terminals = [file for file in (1, 2) if os.isatty(file)]
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN:  # as in the background of a script
                signal.signal(number, handle)
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_nowhere(terminals: list[int]) -> None:
    """Writing to a terminal that has gone would be an error in the middle of a good end."""
    for file in terminals:
        if not os.isatty(file):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, file)
            os.close(nowhere)
