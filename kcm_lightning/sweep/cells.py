"""What a sweep's file says: its cells, each a run folder and the commands that fill it."""

import json
import os
import re
import shlex
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.plain_files import read_yaml
from kcm_lightning.utils.tokens import is_text

_KEYS: dict[str, type] = {
    "folder": str,
    "config": str,
    "options": dict,
    "seeds": list,
    "steps": list,
    "variants": dict,
}
_OF_A_VARIANT: dict[str, type] = {"config": str, "options": dict, "steps": list, "needs": list}
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_PLACE = re.compile(r"\{(run|seed|sweep)\}")
_NOT_IN_A_NAME = re.compile(r"[/{}$\x00-\x1f\x7f]")  # of one folder, which commands name in turn
_TAKEN = (".", "..", "tests", "table.md")  # further tests of a run have a folder `tests`
_LONGEST_NAME = 200  # bytes; file systems take 255
_LARGEST_SEED = 2**32 - 1  # numpy's


@dataclass
class Cell:
    """One run of a sweep.

    Args:
        variant: its name.
        seed: its seed.
        folder: the run folder.
        commands: the words of each of its commands, after `python -m kcm_lightning`; variables of the
            environment stand as they are in the file.
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
        """The file that a command leaves when it has ended well, or a `fit` when it has "begun"."""
        return self.folder / f".{state}-{step}"

    def made_by(self, step: int) -> str:
        """A command, wherever the sweep's folder and what the environment names may be."""
        return shlex.join(self.commands[step]).replace(str(self.folder.parent.parent), "{sweep}")


def read_sweep(path: Path) -> list[Cell]:
    """The cells of a sweep's file, in the order of seeds and variants.

    Args:
        path: YAML with `folder`, where the runs go; `config`, a configuration; `options` of all commands;
            `seeds`; `steps`, the commands of a run ("fit", "calibrate --target lm_rate=0.6", "test --config
            {run}/calibrated.yaml", ...); and `variants` by name, each with `options`, and perhaps its own
            `config`, `steps` and `needs`, names of variants that go before it with the same seed. In steps,
            options and a variant's `config`, `{run}` is the run's folder, `{seed}` its seed, `{sweep}` the
            sweep's folder, `${NAME}` a variable of the environment. A variant without a `fit` step tests what
            another one has trained: its `config` is that run's, and its options go to each command.

    Raises:
        InputError: the file is not one of these.
    """
    wanted = _read(path)
    variants: dict[str, Any] = {}
    for name, variant in wanted["variants"].items():
        if (own := _checked_name(path, name)) in variants:
            raise InputError(f"{path}: there are two variants {own!r}")
        variants[own] = variant
    wanted["variants"] = variants
    cells = [_cell(path, wanted, name, seed) for seed in wanted["seeds"] for name in variants]
    try:
        TopologicalSorter({cell.folder: cell.needs for cell in cells}).prepare()
    except CycleError as error:
        circle = " needs ".join(folder.parent.name for folder in reversed(error.args[1]))
        raise InputError(f"{path}: no variant can be the first where {circle}") from error
    return cells


def _read(path: Path) -> dict[str, Any]:
    """What a sweep's file holds; variants and steps are not looked at yet."""
    if not path.is_file():
        raise InputError(f"there is no sweep file {str(path)!r}")
    wanted = read_yaml(path)
    if not {"folder", "seeds", "steps", "variants"} <= set(wanted) <= set(_KEYS):
        raise InputError(
            f"{path}: a sweep has folder, config, options, seeds, steps and variants, and nothing else"
        )
    _check_kinds(path, wanted, _KEYS)
    if not wanted["variants"] or not wanted["seeds"] or not wanted["folder"]:
        raise InputError(f"{path}: give a folder, and at least one variant and one seed")
    _check_words(path, wanted["folder"])
    if not expanded(wanted["folder"]).strip() or _PLACE.search(wanted["folder"]):
        raise InputError(f"{path}: folder {wanted['folder']!r} is no folder: all of its runs go into one")
    seeds = wanted["seeds"]
    right = all(type(seed) is int and 0 <= seed <= _LARGEST_SEED for seed in seeds)
    if not right or len(set(seeds)) < len(seeds):
        raise InputError(
            f"{path}: a seed is a whole number from 0 to {_LARGEST_SEED}, and none is there twice"
        )
    return wanted


def _checked_name(path: Path, name: Any) -> str:
    """A variant's name, which is a folder in the sweep's own folder."""
    own = str(name)
    fits = is_text(own) and own == own.strip() and 0 < len(own.encode()) <= _LONGEST_NAME
    if not fits or own in _TAKEN or _NOT_IN_A_NAME.search(own):
        raise InputError(
            f"{path}: {own[:60]!r} is no name of a variant, which is one folder of its own: not "
            f"{', '.join(_TAKEN)}, without /, braces and $, and at most {_LONGEST_NAME} bytes long"
        )
    return own


def _check_words(path: Path, text: str) -> None:
    """Whether a text may be a word of a command, and the variables that it names are set."""
    if not is_text(text) or "\0" in text:
        raise InputError(f"{path}: {text[:60]!r} holds a character that no command takes")
    if unset := set(_VARIABLE.findall(text)) - set(os.environ):
        raise InputError(f"{path} needs the environment variable {min(unset)}, which is not set")


def _check_kinds(path: Path, given: dict, kinds: dict[str, type]) -> None:
    words: dict[type, str] = {str: "a text", dict: "a mapping", list: "a list"}
    for name, value in given.items():
        if value is not None and not isinstance(value, kinds[name]):
            raise InputError(f"{path}: {name} is {words[kinds[name]]}, not {repr(value)[:60]}")


def _cell(path: Path, wanted: dict, name: str, seed: int) -> Cell:
    variant = {} if wanted["variants"][name] is None else wanted["variants"][name]
    if not isinstance(variant, dict) or not set(variant) <= set(_OF_A_VARIANT):
        raise InputError(f"{path}: a variant has config, options, steps and needs, and nothing else")
    _check_kinds(path, variant, _OF_A_VARIANT)
    sweep = Path(expanded(wanted["folder"]))
    folder = sweep / name / str(seed)
    places = {"run": str(folder), "seed": str(seed), "sweep": str(sweep)}
    config = variant.get("config") or wanted.get("config")
    if not config:
        raise InputError(f"{path}: variant {name} has no config")

    def filled(text: str) -> str:
        _check_words(path, text)
        return _PLACE.sub(lambda place: places[place[1]], text)

    steps = _steps(path, name, variant.get("steps") or wanted["steps"] or [])
    trains = any(step[0] == "fit" for step in steps)
    options = (wanted.get("options") or {}) | (variant.get("options") or {})
    words = [filled(f"--{option}={_plain(path, option, value)}") for option, value in options.items()]
    commands = []
    for command, *own in steps:
        fresh = command == "fit" or not trains  # nothing of it is in a configuration of this run yet
        base = ["--config", filled(str(config)) if fresh else str(folder / "config.yaml")]
        given = [f"--seed_everything={seed}", *words] if fresh else []
        commands.append([filled(command), *base, *given, *map(filled, own), "--run", str(folder)])
    needs = [str(needed) for needed in variant.get("needs") or []]
    if unknown := [needed for needed in needs if needed not in wanted["variants"]]:
        raise InputError(f"{path}: variant {name} needs {unknown[0]}, which is no variant")
    needed_folders = [sweep / needed / str(seed) for needed in needs]
    return Cell(variant=name, seed=seed, folder=folder, commands=commands, needs=needed_folders)


def _steps(path: Path, name: str, steps: list) -> list[list[str]]:
    """The words of each step."""
    if other := [step for step in steps if not isinstance(step, str)]:
        raise InputError(f"{path}: variant {name}: a step is a text, not {other[0]!r}")
    try:
        found = [shlex.split(step) for step in steps]
    except ValueError as error:
        raise InputError(f"{path}: variant {name}: a step cannot be split into words: {error}") from error
    if not found or not all(found):
        raise InputError(f"{path}: variant {name}: give at least one step, and none that is empty")
    return found


def _plain(path: Path, option: Any, value: Any) -> str:
    """An option's value as the command line takes it."""
    if not isinstance(option, str):
        raise InputError(f"{path}: the option {option!r} is no text")
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{path}: option {option}: {repr(value)[:60]} is no text, finite number, truth value, list "
            "or mapping of these; what YAML takes for a date needs quotes"
        ) from error


def expanded(word: str) -> str:
    """A word with the variables of the environment that it names filled in."""
    return _VARIABLE.sub(lambda variable: os.environ.get(variable[1], variable[0]), word)
