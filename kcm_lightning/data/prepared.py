"""Folders of prepared data that are there whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kcm_lightning.errors import InputError


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write to, which takes its place when all of it is written.

    Args:
        folder: where it goes. What a killed process has left of an earlier try is removed.

    Raises:
        InputError: the place cannot be written to.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"--data.prepared: {folder.parent} cannot be written to: {error.strerror}") from error
    try:
        yield partial
        if folder.exists():  # another process was faster
            shutil.rmtree(partial)
        else:
            os.replace(partial, folder)
            for left in folder.parent.glob(f".{folder.name}.*"):
                shutil.rmtree(left, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
