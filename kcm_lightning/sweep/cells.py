"""What a sweep's file says: its cells, each a run folder and the commands that fill it."""

import json
import os
import re
import shlex
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from kcm_lightning.utils.errors import InputError

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
    if not path.is_file():
        raise InputError(f"there is no sweep file {str(path)!r}")
    try:
        wanted = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML: {error}") from error
    if not isinstance(wanted, dict) or not {"folder", "seeds", "steps", "variants"} <= set(wanted) <= set(
        _KEYS
    ):
        raise InputError(
            f"{path}: a sweep has folder, config, options, seeds, steps and variants, and nothing else"
        )
    _check_kinds(path, wanted, _KEYS)
    if not wanted["variants"] or not wanted["seeds"] or not wanted["folder"]:
        raise InputError(f"{path}: give a folder, and at least one variant and one seed")
    _check_set(path, wanted["folder"])
    seeds = wanted["seeds"]
    if not all(type(seed) is int for seed in seeds) or len(set(seeds)) < len(seeds):
        raise InputError(f"{path}: a seed is a whole number, and none is there twice")
    cells = []
    for seed in wanted["seeds"]:
        for name, variant in wanted["variants"].items():
            cells.append(_cell(path, wanted, str(name), variant or {}, seed))
    known = {cell.folder for cell in cells}
    for cell in cells:
        for needed in cell.needs:
            if needed not in known:
                raise InputError(
                    f"{path}: variant {cell.variant} needs {needed.parent.name}, which is no variant"
                )
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
    words: dict[type, str] = {str: "a text", dict: "a mapping", list: "a list"}
    for name, value in given.items():
        if value is not None and not isinstance(value, kinds[name]):
            raise InputError(f"{path}: {name} is {words[kinds[name]]}, not {value!r}")


def _cell(path: Path, wanted: dict, name: str, variant: Any, seed: int) -> Cell:
    if not isinstance(variant, dict) or not set(variant) <= set(_OF_A_VARIANT):
        raise InputError(f"{path}: a variant has config, options, steps and needs, and nothing else")
    _check_kinds(path, variant, _OF_A_VARIANT)
    sweep = Path(expanded(wanted["folder"]))
    folder = sweep / name / str(seed)
    config = variant.get("config") or wanted.get("config")
    if not config:
        raise InputError(f"{path}: variant {name} has no config")

    def filled(text: str) -> str:
        _check_set(path, text)
        return text.replace("{run}", str(folder)).replace("{seed}", str(seed)).replace("{sweep}", str(sweep))

    try:
        steps = [shlex.split(str(step)) for step in variant.get("steps") or wanted["steps"] or []]
    except ValueError as error:
        raise InputError(f"{path}: variant {name}: a step cannot be split into words: {error}") from error
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
    needs = [sweep / str(needed) / str(seed) for needed in variant.get("needs") or []]
    return Cell(variant=name, seed=seed, folder=folder, commands=commands, needs=needs)


def _plain(value: Any) -> str:
    """An option's value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def expanded(word: str) -> str:
    """A word with the variables of the environment that it names filled in."""
    return _VARIABLE.sub(lambda variable: os.environ[variable[1]], word)
