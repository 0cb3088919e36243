"""Results of run folders, and which of them may stand in one table or in one mean."""

import json
from pathlib import Path
from typing import Any

from kcm_lightning.results import LENGTH
from kcm_lightning.utils.errors import InputError

Figures = dict[str, Any]


def _files(folders: list[str]) -> list[Path]:
    """Results files, each once, in the order of the folders."""
    found: dict[Path, Path] = {}
    for folder in folders:
        files = sorted(Path(folder).rglob("results.json"))
        if not files:
            raise InputError(f"{folder} holds no results.json: run `test` first, or name a run folder")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def collaborations_of(folders: list[str]) -> list[Figures]:
    """Results of all runs but sequential trainings, which none of the paper's tables has."""
    found = {file: _read(file) for file in _files(folders)}
    kept = [_checked(file, figures) for file, figures in found.items() if "groups" not in figures]
    if not kept:
        raise InputError(
            "there are sequential trainings alone, which none of the paper's tables has: give --by variant"
        )
    return kept


def variants_of(folders: list[str]) -> list[tuple[str, Figures]]:
    """Name of the variant and results of each run in `<variant>/<seed>`."""
    found: dict[tuple[str, int], Path] = {}
    runs = []
    for file in _files(folders):
        variant, figures = file.parent.parent.name, _read(file)
        earlier = found.setdefault((variant, figures["seed"]), file)
        if earlier != file:
            raise InputError(
                f"{earlier} and {file} are both of variant {variant}, seed {figures['seed']}: name one sweep"
            )
        runs.append((variant, figures))
    return runs


def _read(file: Path) -> Figures:
    """A results file of any kind of training."""
    try:
        figures = json.loads(file.read_text())
        if not {"accuracy", "scores", "groups"}.intersection(figures):
            raise KeyError("accuracy, scores or groups")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no results file of this project: {error!r}") from error
    return figures


def _checked(file: Path, figures: Figures) -> Figures:
    """Results of a collaboration, which have what the paper's tables need."""
    try:
        (
            options(figures, "model")["teacher"]["class_path"],
            figures["accuracy" if "accuracy" in figures else "scores"]["kcm"],
            figures["data"]["splits"]["test"]["sha256"],
        )
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(f"{file} is no results file of this project: {error!r}") from error
    return figures


def last(path: str) -> str:
    """Name of a class without its module."""
    return path.rsplit(".", 1)[-1]


def options(figures: Figures, part: str) -> Figures:
    """Options of the module ("model") or of the data ("data")."""
    return figures["config"][part].get("init_args", {})


# what may differ between runs that are averaged or stand in one table
_NOT_A_VARIANT = {
    "thresholds",
    "temperatures",
    "cache",
    "judge_ckpt",
    "category",
    "root",
    "prepared",
    "answered",
    "predict_folder",
    "eval_batch_size",
    "compile",
}

_NOT_OF_THE_ANSWERS = {
    "answers",
    "budget",
    "concurrency",
    "fit_budget",
    "prices",
    "retries",
    "timeout",
    "api_key_env",
}
# a model that was fitted on one category and is tested on another is not one that was fitted on that
_NOT_OF_THE_FIT = (_NOT_A_VARIANT | _NOT_OF_THE_ANSWERS | {"seed_everything"}) - {"category", "fit_budget"}


def variant_of(figures: Figures) -> str:
    """The options that tell apart runs which must not be averaged."""
    config, fitted = figures["config"], figures.get("fitted_with") or {}
    kept: dict[str, Any] = {
        part: {name: value for name, value in options(figures, part).items() if name not in _NOT_A_VARIANT}
        for part in ("model", "data")
    }
    kept["classes"] = [last(config[part]["class_path"]) for part in ("model", "data")]
    kept["length"] = [config["trainer"].get(name) for name in (*LENGTH, "limit_test_batches")]
    kept["fitted"] = {
        name: value for name, value in fitted.items() if not _NOT_OF_THE_FIT & set(name.split("."))
    }
    # a caption's confidence has no temperature; elsewhere `calibrate`, which chooses other gates for each
    # seed, fits one
    if "accuracy" in figures and set(figures["temperatures"].values()) == {1.0}:
        kept["gates"] = figures["thresholds"]
    teacher = kept["model"]["teacher"]
    asked = {
        name: value for name, value in teacher.get("init_args", {}).items() if name not in _NOT_OF_THE_ANSWERS
    }
    kept["model"]["teacher"] = {**teacher, "init_args": asked}
    return json.dumps(kept, sort_keys=True)


def same_cell(one: Figures, other: Figures) -> bool:
    """Whether two runs are of the same data and seed: then they are no independent samples of a figure."""
    return one["seed"] == other["seed"] and one["data"].get("title") == other["data"].get("title")
