"""The report of run folders."""

from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

from kcm_lightning.report.runs import collaborations_of, may_be_averaged, variants_of
from kcm_lightning.report.tables import maker_of, table_of
from kcm_lightning.results import variants_table
from kcm_lightning.results.comparable import (
    differences,
    in_words,
    labels,
    last,
    measured_on,
    not_done,
    options,
    variant_of,
)
from kcm_lightning.results.results_file import Figures
from kcm_lightning.utils.tables import csv_table, latex_table, markdown_table

Format = Literal["markdown", "csv", "latex"]
_SHOWN = 6  # differences that a table's line names
_NAMED = 2  # and that its title names


def report(folders: list[str], format: Format = "markdown", by: Literal["table", "variant"] = "table") -> str:
    """The paper's tables out of run folders, with mean and standard deviation over seeds.

    Runs are averaged where they differ in nothing but their seed. Others, also those whose data or large
    model are others under the same name, have tables or rows of their own, which say what differs.

    Args:
        folders: run folders, or folders that hold some at any depth.
        format: markdown, with data, large model, seeds and command of each table; or csv or latex, the tables
            alone.
        by: "table", the paper's tables; or "variant", one table with a row for each variant of a sweep, whose
            runs lie in `<variant>/<seed>`.

    Returns:
        The tables, one after the other.

    Raises:
        InputError: a folder holds no results, or results that are damaged.
    """
    if by == "variant":
        return _shown(*variants_table(variants_of(folders)), format)
    tables: dict[str, list[list[Figures]]] = defaultdict(list)
    for figures in collaborations_of(folders):
        variants = tables[table_of(figures)]
        fitting = (runs for runs in variants if all(may_be_averaged(figures, other) for other in runs))
        runs = next(fitting, None)
        if runs is None:
            variants.append(runs := [])
        runs.append(figures)
    parts = []
    for title in sorted(tables):
        first, names = tables[title][0][0], _names(tables[title])
        for runs, name in zip(tables[title], names, strict=True):
            head, rows = maker_of(title)(runs)
            if format == "markdown":
                sources = _sources(runs) + ("" if runs[0] is first else _differing(runs[0], first))
                parts.append(f"## {title}{name}\n\n{markdown_table(head, rows)}\n{sources}")
            else:
                parts.append(_shown(head, rows, format))
    return "\n".join(parts)


def _shown(head: list[str], rows: list[list[str]], format: Format) -> str:
    return {"markdown": markdown_table, "csv": csv_table, "latex": latex_table}[format](head, rows)


def _names(groups: list[list[Figures]]) -> list[str]:
    """What tells the tables of one title apart, for their titles; nothing where there is one."""
    if len(groups) == 1:
        return [""]
    return [f": {label}" for label in labels([_described(runs[0]) for runs in groups], shown=_NAMED)]


def _described(figures: Figures) -> dict[str, Any]:
    return variant_of(figures) | measured_on(figures)


def _differing(own: Figures, first: Figures) -> str:
    """What tells a table from the first one of its title."""
    found = differences(variant_of(first), variant_of(own))
    if own["data"].get("title") == first["data"].get("title"):  # else they are other rows
        found |= differences(measured_on(first), measured_on(own))
    said = [f"{name} {in_words(then)} there, {in_words(now)} here" for name, (then, now) in found.items()]
    more = f"; and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    what = "; ".join(said[:_SHOWN]) + more if said else "nothing: the same data and seed once more"
    return f"- differs from the first in: {what}\n"


def _sources(runs: list[Figures]) -> str:
    """Data, large model, seed and command of each run that a table is made of."""
    lines = []
    for run in runs:
        data, teacher = run["data"], options(run, "model")["teacher"]
        asked = teacher.get("init_args") or {}
        name = asked.get("name") or asked.get("model") or asked.get("path") or ""
        facts = data["splits"].items()
        splits = {split: own for split, own in facts if isinstance(own, dict) and "samples" in own}
        sizes = ", ".join(f"{split} {own['samples']}" for split, own in splits.items())
        lines.append(
            f"- {data.get('title', data['name'])} ({sizes}; test split {splits['test']['sha256']}); "
            f"{last(teacher['class_path'])} {Path(str(name)).name}; seed {run['seed']}; "
            f"commit {run.get('commit')}; `{run['command']}`"
            + "".join(f"; {sentence}" for sentence in not_done(run))
        )
    return "\n".join(lines) + "\n"
