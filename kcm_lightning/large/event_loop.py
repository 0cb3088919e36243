"""Work in an event loop of its own thread, which a signal to the main thread ends in good order."""

import asyncio
import concurrent.futures
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

WAITING = 8.0  # seconds that what is under way is waited for after a signal
_BOOKING = 2.0  # seconds to book what was not waited for

Result = TypeVar("Result")


def run_in_loop(
    work: Coroutine[Any, Any, Result],
    *,
    stop: Callable[[], None] | None = None,
    cut_short: Callable[[], None] | None = None,
) -> Result:
    """Does some work and waits for it.

    Where the wait is interrupted, by Ctrl-C or by what another signal raises, the work is asked to begin
    nothing new, and what is under way is waited for, 8 seconds at most. A second signal ends the wait at
    once.

    Args:
        work: what to do.
        stop: makes the work begin nothing new; called in the loop.
        cut_short: makes the work end at once; called in the loop.
    """
    loop = _loop_of(os.getpid())
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except BaseException:
        if not future.done():
            _end(loop, future, stop, cut_short)
        raise


def _end(
    loop: asyncio.AbstractEventLoop,
    future: concurrent.futures.Future,
    stop: Callable[[], None] | None,
    cut_short: Callable[[], None] | None,
) -> None:
    try:
        if stop is not None:
            loop.call_soon_threadsafe(stop)
            concurrent.futures.wait([future], timeout=WAITING)
    finally:
        if not future.done():
            loop.call_soon_threadsafe(cut_short or future.cancel)
            concurrent.futures.wait([future], timeout=_BOOKING)


@functools.cache
def _loop_of(process: int) -> asyncio.AbstractEventLoop:
    """The loop of a process: a process that was forked off has no thread of the one before."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="requests", daemon=True).start()
    return loop
