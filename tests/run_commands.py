"""Runs commands as a user does: most in this process, where nothing is imported anew, some in one of their
own."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from kcm_lightning.cli import main

ROOT = Path(__file__).parent.parent


def kcm(folder: Path, *words: str) -> str:
    """Runs a command in a folder, in this process; returns what it printed. A command that fails is an
    AssertionError."""
    printed, status = io.StringIO(), 0
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        patch.dict(os.environ, {"COLUMNS": "200"}),
        patch.object(sys, "argv", ["kcm_lightning", *words]),
    ):
        try:
            main()
        except SystemExit as stop:
            status = stop.code or 0
    assert status == 0, printed.getvalue()
    return printed.getvalue()


def kcm_process(folder: Path, *words: str) -> str:
    """As `kcm`, by `python -m kcm_lightning`."""
    run = subprocess.run(
        [sys.executable, "-m", "kcm_lightning", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def results_in(folder: Path, printed: str) -> Path:
    """The folder of the results that a `test` in a folder has told of."""
    place = printed.split("results: ", 1)[1].split("results.json", 1)[0]
    return folder / place
