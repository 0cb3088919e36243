"""A line on the console that says how far long work is."""

import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

_PAUSE = 10.0  # seconds between lines where the output is no terminal
_REDRAW = 0.2  # seconds between changes of the line of a terminal


class ProgressLine:
    """One line on stderr, which changes in place on a terminal; in a log, lines follow one another.

    Attributes:
        terminal: whether stderr is a terminal.
    """

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self._last, self._wide = 0.0, 0

    def due(self) -> bool:
        """Whether it is time to show how far the work is; asking counts as showing it."""
        now = time.monotonic()
        if now - self._last < (_REDRAW if self.terminal else _PAUSE):
            return False
        self._last = now
        return True

    def show(self, text: str, *, end: bool = False) -> None:
        """Writes the line.

        Args:
            text: what it says; cut where a terminal is narrower.
            end: the next one begins below it.
        """
        self._last = time.monotonic()
        if self.terminal:
            text = text[: shutil.get_terminal_size().columns - 1]
            sys.stderr.write("\r" + text.ljust(self._wide) + ("\n" if end else ""))
            self._wide = 0 if end else len(text)
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Leaves the line of a terminal as it is, so that others write below it."""
        if self._wide:
            sys.stderr.write("\n")
            self._wide = 0


def counted(batches: Any, title: str, *, shown: bool = True) -> Iterator[Any]:
    """Hands batches on, and says how many are done and how long the others take.

    Args:
        batches: a data loader, say.
        title: what is done with them.
        shown: whether anything is said.
    """
    line, start = ProgressLine(), time.monotonic()
    total = len(batches)
    for done, batch in enumerate(batches, start=1):
        yield batch
        if shown and line.due():
            left = (time.monotonic() - start) / done * (total - done)
            line.show(f"{title}: batch {done}/{total}, {clock(left)} left")
    line.close()


def clock(seconds: float) -> str:
    """Seconds as a person reads them.

    >>> clock(75.2), clock(3675)
    ('1:15', '1:01:15')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
