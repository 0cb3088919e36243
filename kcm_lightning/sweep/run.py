"""Runs the cells of a sweep, none twice, also where several processes share them."""

import fcntl
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast

from kcm_lightning.results import variants_table
from kcm_lightning.results.results_file import read_results
from kcm_lightning.sweep.cells import Cell, expanded, read_sweep
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import write_text
from kcm_lightning.utils.tables import markdown_table

_PAUSE = 2.0  # seconds between looks at what another process does
_STOPPING = 20.0  # seconds that a command may take to stop


def sweep(path: Path, cell: int | None = None) -> int:
    """Runs what is not done yet.

    Several processes may do so at once, and a killed one is taken up where it was.

    Args:
        path: YAML of the sweep, see `read_sweep`.
        cell: number of one cell, to run that alone, after those that it needs.

    Returns:
        How many cells have failed, or have results that cannot be read; for one cell that another process is
        at, 1.
    """
    cells = read_sweep(path)
    if cell is not None and not 0 <= cell < len(cells):
        raise InputError(f"{path} has cells 0 to {len(cells) - 1}, there is no {cell}")
    for own in cells:
        _check_unchanged(own, path)
        _check_needed(own, cells)
    wanted = cells if cell is None else _with_needed(cells, cells[cell])
    failed: set[Path] = set()
    while _pass(wanted, failed):
        pass
    finished = [own for own in cells if own.finished]
    damaged = [own for own in finished if not _readable(own)]
    if finished:
        table = markdown_table(*sweep_table([own for own in finished if own not in damaged]))
        write_text(cells[0].folder.parent.parent / "table.md", table)
        print(table, end="")
    elsewhere = sum(not own.finished and own.folder not in failed and _busy(own) for own in wanted)
    others = f", {elsewhere} are under way in another process" if elsewhere else ""
    print(f"{len(finished)} of {len(cells)} cells are done, {len(failed)} have failed{others}")
    return len(failed) + len(damaged) or int(cell is not None and not cells[cell].finished)


def _readable(cell: Cell) -> bool:
    """Whether a cell's results can stand in the table; says what is wrong with them."""
    try:
        sweep_table([cell])
    except InputError as error:
        who, advice = f"{cell.variant}, seed {cell.seed}", f"to make it anew, move {cell.folder} away"
        print(f"{who}: left out of the table: {error}; {advice}")
        return False
    return True


def _check_unchanged(cell: Cell, path: Path) -> None:
    """Whether what a cell has done is what the sweep's file says now."""
    would_be_resumed = (cell.folder / "checkpoints" / "last.ckpt").is_file()
    states = ["done", "begun"] if would_be_resumed else ["done"]
    for step in range(len(cell.commands)):
        for mark in [cell.mark(step, state) for state in states]:
            if mark.is_file() and (made_by := mark.read_text("utf-8", "replace")) != cell.made_by(step):
                raise InputError(
                    f"{path} has changed since {made_by!r} made {cell.folder}: move it away, or change the "
                    "file back"
                )


def _check_needed(cell: Cell, cells: list[Cell]) -> None:
    """Whether what a cell was made from is still there: made anew, it would be another."""
    begun = any(cell.mark(step).is_file() for step in range(len(cell.commands)))
    gone = [needed.folder for needed in cells if needed.folder in cell.needs and not needed.mark(0).is_file()]
    if begun and gone:
        raise InputError(
            f"{cell.folder} was made from {gone[0]}, which is to be made anew: move it away too, or bring "
            "that back"
        )


def _with_needed(cells: list[Cell], wanted: Cell) -> list[Cell]:
    """A cell, and before it all that it needs."""
    needed = [each for cell in cells if cell.folder in wanted.needs for each in _with_needed(cells, cell)]
    return [*needed, wanted]


def _pass(cells: list[Cell], failed: set[Path]) -> bool:
    """Runs each cell that is not done and whose needs are; whether another pass may find more to do."""
    ran = waiting = False
    by_folder = {cell.folder: cell for cell in cells}
    for cell in cells:
        if cell.finished or failed.intersection([cell.folder, *cell.needs]):
            continue
        missing = [by_folder[folder] for folder in cell.needs if not by_folder[folder].finished]
        if missing:  # one may have ended since it was looked at
            waiting = waiting or any(_busy(needed) or needed.finished for needed in missing)
            continue
        outcome = _run(cell)
        if outcome is False:
            failed.add(cell.folder)
        ran = ran or outcome is not None
    if waiting and not ran:
        time.sleep(_PAUSE)
    return ran or waiting


def _busy(cell: Cell) -> bool:
    if not (cell.folder / ".lock").is_file():
        return False
    with _claimed(cell) as lock:
        return lock is None


def _run(cell: Cell) -> bool | None:
    """Runs a cell's commands that have not ended well yet; None where another process is at it."""
    try:
        cell.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the run folder {cell.folder} cannot be made: {error.strerror}") from error
    with _claimed(cell) as lock:
        if lock is None or cell.finished:  # by another process, since this one looked
            return None
        for step, words in enumerate(cell.commands):
            if cell.mark(step).is_file():
                continue
            print(f"{cell.variant}, seed {cell.seed}: {words[0]}", flush=True)
            if words[0] == "fit":
                write_text(cell.mark(step, "begun"), cell.made_by(step))
            code, said = _call(cell, words, lock)
            if code:
                where = cell.folder / "sweep.log"
                print(f"{cell.variant}, seed {cell.seed}: {words[0]} failed: {said}, see {where}", flush=True)
                return False
            write_text(cell.mark(step), cell.made_by(step))
    return True


def _call(cell: Cell, words: list[str], lock: TextIO) -> tuple[int, str]:
    """Exit status and last line of a command, which holds the lock too, should it outlive this process."""
    checkpoints = cell.folder / "checkpoints"
    if words[0] == "fit" and (checkpoints / "last.ckpt").is_file():  # it was killed
        words = [*words, "--ckpt_path", "last"]
    elif words[0] == "fit":
        shutil.rmtree(checkpoints, ignore_errors=True)  # killed before its first epoch ended
    log = cell.folder / "sweep.log"
    with _opened(log, "a") as file:
        command = [sys.executable, "-m", "kcm_lightning", *map(expanded, words)]
        with subprocess.Popen(command, stdout=file, stderr=file, pass_fds=[lock.fileno()]) as process:
            try:
                status = process.wait()
            except BaseException:  # a signal: the command is stopped in good order too
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_STOPPING)
                process.kill()
                raise
    return status, "".join(log.read_text(errors="replace").strip().splitlines()[-1:])


def _opened(path: Path, mode: str) -> TextIO:
    try:
        return cast(TextIO, path.open(mode))
    except OSError as error:
        raise InputError(f"{path} cannot be written to: {error.strerror}") from error


@contextmanager
def _claimed(cell: Cell) -> Iterator[TextIO | None]:
    """A cell's lock, held until the last process with it ends; None where another process has it."""
    with _opened(cell.folder / ".lock", "w") as file:
        for pause in (0.0, 0.02, 0.05):  # another process may only be looking whether it is free
            time.sleep(pause)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                continue
            except OSError as error:
                raise InputError(
                    f"the file system of {cell.folder} keeps no locks: {error.strerror}"
                ) from error
        else:
            yield None
            return
        yield file


def commands(path: Path) -> str:
    """Each cell's commands as one line of shell, for launchers of all kinds."""
    lines = []
    for cell in read_sweep(path):
        runs = [
            shlex.join(["python", "-m", "kcm_lightning", *map(expanded, words)]) for words in cell.commands
        ]
        lines.append(" && ".join(runs))
    return "\n".join(lines) + "\n"


def sweep_table(cells: list[Cell]) -> tuple[list[str], list[list[str]]]:
    """A row a variant of the cells that are done; those without `results.json` are passed over.

    Raises:
        InputError: the results of a cell are damaged, incomplete, or of something else.
    """
    files = [(cell.variant, cell.folder / "results.json") for cell in cells]
    return variants_table([(variant, read_results(file)) for variant, file in files if file.exists()])
