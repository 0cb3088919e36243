"""Folders of prepared data that are there whole or not at all."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kcm_lightning.utils.errors import InputError

_STALE = 24 * 3600  # seconds after which nobody is still writing


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write to, which takes its place when all of it is written.

    Args:
        folder: where it goes. What a killed process has left of an earlier try is removed after a day.

    Raises:
        InputError: the place cannot be written to.
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
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
