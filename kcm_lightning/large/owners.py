"""Processes that have requests under way, as a file that they share knows them."""

import os
import socket
import time
import uuid

CLOCKS = 10.0  # seconds by which the clocks of two machines may differ
LONGEST = 86_400.0  # seconds of a request; what would last longer was noted by a wrong clock
_own: set[str] = set()  # of this very process


def new_owner() -> str:
    """A name for who asks: machine, process and a number of its own."""
    owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
    _own.add(owner)
    return owner


def has_ended(owner: str, expires: float | None) -> bool:
    """Whether a request is under way no more.

    Args:
        owner: who asked.
        expires: when the request must be over, in seconds since the epoch; None where it was not noted. It
            says the last word of processes on other machines, which cannot be looked at: a container that
            was started again is another machine.
    """
    now = time.time()
    if not now - CLOCKS < (expires or 0.0) < now + LONGEST + CLOCKS:
        return True
    machine, process, _ = owner.rsplit(" ", 2)
    if machine != socket.gethostname():
        return False
    if int(process) == os.getpid():  # else an earlier process had this number
        return owner not in _own
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
