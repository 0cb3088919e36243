"""Many runs from one file: seeds times variants, each a run folder, none run twice."""

import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, TextIO

import yaml

from kcm_lightning.errors import InputError
from kcm_lightning.results import variants_table, write_text
from kcm_lightning.tables import markdown_table

_PAUSE = 2.0  # seconds between looks at what another process does
_KEYS = {"folder": str, "config": str, "options": dict, "seeds": list, "steps": list, "variants": dict}
_OF_A_VARIANT = {"config": str, "options": dict, "steps": list, "needs": list}
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass
class Cell:
    """One run of a sweep.

    Args:
        variant: its name.
        seed: of the run.
        folder: the run folder.
        commands: the words of each of its commands, after `python -m kcm_lightning`; variables of the environment stand as
            they are in the file.
        needs: folders of the cells that must be done before.
    """

    variant: str
    seed: int
    folder: Path
    commands: list[list[str]]
    needs: list[Path] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether all its commands have ended well."""
        return all(self.mark(step).is_file() for step in range(len(self.commands)))

    def mark(self, step: int, state: str = "done") -> Path:
        """The file that a command leaves which has ended well, or a `fit` that was "begun", with what made it."""
        return self.folder / f".{state}-{step}"

    def made_by(self, step: int) -> str:
        """A command, wherever the sweep's folder and what the environment names may be."""
        return shlex.join(self.commands[step]).replace(str(self.folder.parent.parent), "{sweep}")


def read_sweep(path: Path) -> list[Cell]:
    """The cells of a sweep's file, in the order of seeds and variants.

    Args:
        path: YAML with `folder`, where the runs go; `config`, a configuration; `options` of all commands; `seeds`; `steps`, the
            commands of a run ("fit", "calibrate --target lm_rate=0.6", "test --config {run}/calibrated.yaml", ...); and
            `variants` by name, each with `options`, and perhaps its own `config`, `steps` and `needs`, names of
            variants that go before it with the same seed. In steps, options and a variant's `config`, `{run}` is the run's
            folder, `{seed}` its seed, `{sweep}` the sweep's folder, `${NAME}` a variable of the environment. A variant
            without a `fit` step tests what another one has trained: its `config` is that run's, and its options go to each
            command.

    Raises:
        InputError: the file is not one of these.
    """
    if not path.is_file():
        raise InputError(f"there is no sweep file {str(path)!r}")
    try:
        wanted = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no YAML: {error}") from error
    if not isinstance(wanted, dict) or not {"folder", "seeds", "steps", "variants"} <= set(wanted) <= set(_KEYS):
        raise InputError(f"{path}: a sweep has folder, config, options, seeds, steps and variants, and nothing else")
    _check_kinds(path, wanted, _KEYS)
    if not wanted["variants"] or not wanted["seeds"] or not wanted["folder"]:
        raise InputError(f"{path}: give a folder, and at least one variant and one seed")
    _check_set(path, wanted["folder"])
    if not all(type(seed) is int for seed in wanted["seeds"]) or len(set(wanted["seeds"])) < len(wanted["seeds"]):
        raise InputError(f"{path}: a seed is a whole number, and none is there twice")
    cells = []
    for seed in wanted["seeds"]:
        for name, variant in wanted["variants"].items():
            cells.append(_cell(path, wanted, str(name), variant or {}, seed))
    known = {cell.folder for cell in cells}
    for cell in cells:
        for needed in cell.needs:
            if needed not in known:
                raise InputError(f"{path}: variant {cell.variant} needs {needed.parent.name}, which is no variant")
    try:
        TopologicalSorter({cell.folder: cell.needs for cell in cells}).prepare()
    except CycleError as error:
        circle = " needs ".join(folder.parent.name for folder in reversed(error.args[1]))
        raise InputError(f"{path}: no variant can be the first where {circle}") from error
    return cells


def _check_set(path: Path, text: str) -> None:
    if unset := set(_VARIABLE.findall(text)) - set(os.environ):
        raise InputError(f"{path} needs the environment variable {min(unset)}, which is not set")


def _check_kinds(path: Path, given: dict, kinds: dict[str, type]) -> None:
    words = {str: "a text", dict: "a mapping", list: "a list"}
    for name, value in given.items():
        if value is not None and not isinstance(value, kinds[name]):
            raise InputError(f"{path}: {name} is {words[kinds[name]]}, not {value!r}")


def _cell(path: Path, wanted: dict, name: str, variant: Any, seed: int) -> Cell:
    if not isinstance(variant, dict) or not set(variant) <= set(_OF_A_VARIANT):
        raise InputError(f"{path}: a variant has config, options, steps and needs, and nothing else")
    _check_kinds(path, variant, _OF_A_VARIANT)
    sweep = Path(_expanded(wanted["folder"]))
    folder = sweep / name / str(seed)
    config = variant.get("config") or wanted.get("config")
    if not config:
        raise InputError(f"{path}: variant {name} has no config")

    def filled(text: str) -> str:
        _check_set(path, text)
        return text.replace("{run}", str(folder)).replace("{seed}", str(seed)).replace("{sweep}", str(sweep))

    steps = [shlex.split(str(step)) for step in variant.get("steps") or wanted["steps"] or []]
    if not steps or not all(steps):
        raise InputError(f"{path}: variant {name}: give at least one step, and none that is empty")
    trains = any(step[0] == "fit" for step in steps)
    options = (wanted.get("options") or {}) | (variant.get("options") or {})
    words = [f"--{option}={filled(_plain(value))}" for option, value in options.items()]
    commands = []
    for command, *own in steps:
        fresh = command == "fit" or not trains  # nothing of it is in a configuration of this run yet
        base = ["--config", filled(str(config)) if fresh else str(folder / "config.yaml")]
        given = [f"--seed_everything={seed}", *words] if fresh else []
        commands.append([command, *base, *given, *map(filled, own), "--run", str(folder)])
    return Cell(name, seed, folder, commands, [sweep / str(needed) / str(seed) for needed in variant.get("needs") or []])


def _plain(value: Any) -> str:
    """An option's value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def sweep(path: Path, cell: int | None = None) -> int:
    """Runs what is not done yet; several processes may do so at once, and a killed one is taken up where it was.

    Args:
        path: as of `read_sweep`.
        cell: number of one cell, to run that alone, after those that it needs.

    Returns:
        How many cells have failed.
    """
    cells = read_sweep(path)
    if cell is not None and not 0 <= cell < len(cells):
        raise InputError(f"{path} has cells 0 to {len(cells) - 1}, there is no {cell}")
    for own in cells:
        _check_unchanged(own, path)
    wanted = cells if cell is None else _with_needed(cells, cells[cell])
    failed: set[Path] = set()
    while _pass(wanted, failed):
        pass
    finished = [own for own in cells if own.finished]
    if finished:
        table = markdown_table(*sweep_table(finished))
        write_text(cells[0].folder.parent.parent / "table.md", table)
        print(table, end="")
    elsewhere = sum(not own.finished and own.folder not in failed and _busy(own) for own in wanted)
    others = f", {elsewhere} are under way in another process" if elsewhere else ""
    print(f"{len(finished)} of {len(cells)} cells are done, {len(failed)} have failed{others}")
    return len(failed)


def _check_unchanged(cell: Cell, path: Path) -> None:
    """Whether what a cell has done is what the sweep's file says now."""
    states = ["done", "begun"] if (cell.folder / "checkpoints" / "last.ckpt").is_file() else ["done"]  # it would be resumed
    for step in range(len(cell.commands)):
        for mark in [cell.mark(step, state) for state in states]:
            if mark.is_file() and (made_by := mark.read_text()) != cell.made_by(step):
                raise InputError(
                    f"{path} has changed since {made_by!r} made {cell.folder}: move it away, or change the file back"
                )


def _with_needed(cells: list[Cell], wanted: Cell) -> list[Cell]:
    """A cell, and before it all that it needs."""
    needed = [each for cell in cells if cell.folder in wanted.needs for each in _with_needed(cells, cell)]
    return [*needed, wanted]


def _pass(cells: list[Cell], failed: set[Path]) -> bool:
    """Runs each cell that is not done and needs nothing that is not; whether another pass may find more to do."""
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
    cell.folder.mkdir(parents=True, exist_ok=True)
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
                print(f"{cell.variant}, seed {cell.seed}: {words[0]} failed: {said}, see {cell.folder / 'sweep.log'}", flush=True)
                return False
            write_text(cell.mark(step), cell.made_by(step))
    return True


def _call(cell: Cell, words: list[str], lock: TextIO) -> tuple[int, str]:
    """Exit status of a command, which holds the lock too, should it outlive this process; and the last line that it said."""
    checkpoints = cell.folder / "checkpoints"
    if words[0] == "fit" and (checkpoints / "last.ckpt").is_file():  # it was killed
        words = [*words, "--ckpt_path", "last"]
    elif words[0] == "fit":
        shutil.rmtree(checkpoints, ignore_errors=True)  # killed before its first epoch ended
    log = cell.folder / "sweep.log"
    with log.open("a") as file:
        command = [sys.executable, "-m", "kcm_lightning", *map(_expanded, words)]
        run = subprocess.run(command, stdout=file, stderr=file, pass_fds=[lock.fileno()], check=False)
    return run.returncode, "".join(log.read_text(errors="replace").strip().splitlines()[-1:])


def _expanded(word: str) -> str:
    return _VARIABLE.sub(lambda variable: os.environ[variable[1]], word)


@contextmanager
def _claimed(cell: Cell) -> Iterator[TextIO | None]:
    """A cell's lock, which the system gives back when the last process ends that holds it; None where another one has it."""
    with (cell.folder / ".lock").open("w") as file:
        for pause in (0.0, 0.02, 0.05):  # another process may only be looking whether it is free
            time.sleep(pause)
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
        else:
            yield None
            return
        yield file


def commands(path: Path) -> str:
    """Each cell's commands as one line of shell, for launchers of all kinds."""
    lines = []
    for cell in read_sweep(path):
        runs = [shlex.join(["python", "-m", "kcm_lightning", *map(_expanded, words)]) for words in cell.commands]
        lines.append(" && ".join(runs))
    return "\n".join(lines) + "\n"


def sweep_table(cells: list[Cell]) -> tuple[list[str], list[list[str]]]:
    """A row a variant of the cells that are done; those without `results.json` are passed over."""
    files = [(cell.variant, cell.folder / "results.json") for cell in cells]
    return variants_table([(variant, json.loads(file.read_text())) for variant, file in files if file.is_file()])
