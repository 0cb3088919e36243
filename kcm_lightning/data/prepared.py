"""Folders of prepared data that are there whole or not at all."""

import errno
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

from kcm_lightning.utils.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_STALE = 24 * 3600  # seconds after which nobody is still writing


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write to, which takes its place when all of it is written.

    Args:
        folder: where it goes. What a killed process has left of an earlier try is removed after a day.

    Raises:
        InputError: the place cannot be written to, or is full.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(
            f"--data.prepared: {folder.parent} cannot be written to: {error.strerror}"
        ) from error
    try:
        yield partial
        try:
            os.replace(partial, folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(partial)  # another process was faster
        for left in folder.parent.glob(f".{folder.name}.*"):
            if time.time() - left.stat().st_mtime > _STALE:
                shutil.rmtree(left, ignore_errors=True)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise InputError(f"--data.prepared: {folder.parent} is full: {error.strerror}") from error
        raise


# what numpy, zipfile and json raise of damaged files is of many kinds
_DAMAGED = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError),
    *(RuntimeError, MemoryError, BadZipFile, zlib.error),
)


@contextmanager
def read_prepared(folder: Path) -> Iterator[None]:
    """While a folder of prepared data is read: says so in one line where it is damaged.

    Raises:
        InputError: a file in it is missing, cut off or garbage.
    """
    try:
        yield
    except _DAMAGED as error:
        raise InputError(
            f"--data.prepared: {folder} is damaged ({error}): delete it, and it is made anew"
        ) from error
