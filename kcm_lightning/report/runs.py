"""Results of run folders, and which of them may stand in one table or in one mean."""

from pathlib import Path

from kcm_lightning.results.comparable import differences, measured_on, variant_of
from kcm_lightning.results.results_file import Figures, read_results
from kcm_lightning.utils.errors import InputError


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
    kept = [figures for figures in map(read_results, _files(folders)) if "groups" not in figures]
    if not kept:
        raise InputError(
            "there are sequential trainings alone, which none of the paper's tables has: give --by variant"
        )
    return kept


def variants_of(folders: list[str]) -> list[tuple[str, Figures]]:
    """Name of the variant and results of each run in `<variant>/<seed>`.

    Further tests of a run, in `<variant>/<seed>/tests/<what differs>`, are variants of their own.
    """
    found: dict[tuple[str, int], Path] = {}
    runs = []
    for file in _files(folders):
        run, further = file.parent, ""
        if run.parent.name == "tests":
            run, further = run.parent.parent, f", {run.name}"
        variant, figures = f"{run.parent.name}{further}", read_results(file)
        earlier = found.setdefault((variant, figures["seed"]), file)
        if earlier != file:
            raise InputError(
                f"{earlier} and {file} are both of variant {variant}, seed {figures['seed']}: name one sweep"
            )
        runs.append((variant, figures))
    return runs


def may_be_averaged(one: Figures, other: Figures) -> bool:
    """Whether two runs may stand in one table, and those of the same data in one mean.

    Not those of other options; nor those of the same data and seed, which are no independent samples of a
    figure; nor those of data of the same title whose content, or whose large model, is another.
    """
    if differences(variant_of(one), variant_of(other)):
        return False
    if one["data"].get("title") != other["data"].get("title"):
        return True  # another row of the table
    return one["seed"] != other["seed"] and measured_on(one) == measured_on(other)
