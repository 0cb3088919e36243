"""The report of run folders."""

from collections import defaultdict
from pathlib import Path
from typing import Literal

from kcm_lightning.report.runs import (
    Figures,
    collaborations_of,
    last,
    options,
    same_cell,
    variant_of,
    variants_of,
)
from kcm_lightning.report.tables import maker_of, table_of
from kcm_lightning.results import variants_table
from kcm_lightning.utils.tables import csv_table, latex_table, markdown_table

Format = Literal["markdown", "csv", "latex"]


def report(folders: list[str], format: Format = "markdown", by: Literal["table", "variant"] = "table") -> str:
    """The paper's tables out of run folders, with mean and standard deviation over seeds.

    Args:
        folders: run folders, or folders that hold some at any depth.
        format: markdown, with data, large model, seeds and command of each table; or csv or latex, the tables
            alone.
        by: "table", the paper's tables; or "variant", one table with a row for each variant of a sweep, whose
            runs lie in `<variant>/<seed>`.

    Returns:
        The tables, one after the other.

    Raises:
        InputError: a folder holds no results.
    """
    if by == "variant":
        return _shown(*variants_table(variants_of(folders)), format)
    tables: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    for figures in collaborations_of(folders):
        variants = tables[table_of(figures)]
        key = variant_of(figures)
        while any(same_cell(figures, other) for other in variants[key]):  # a seed counts once in a mean
            key += "'"
        variants[key].append(figures)
    parts = []
    for title in sorted(tables):
        for number, runs in enumerate(tables[title].values(), 1):
            head, rows = maker_of(title)(runs)
            if format == "markdown":
                which = f", variant {number}" if len(tables[title]) > 1 else ""
                parts.append(f"## {title}{which}\n\n{markdown_table(head, rows)}\n{_sources(runs)}")
            else:
                parts.append(_shown(head, rows, format))
    return "\n".join(parts)


def _shown(head: list[str], rows: list[list[str]], format: Format) -> str:
    return {"markdown": markdown_table, "csv": csv_table, "latex": latex_table}[format](head, rows)


def _sources(runs: list[Figures]) -> str:
    """Data, large model, seed and command of each run that a table is made of."""
    lines = []
    for run in runs:
        data, teacher = run["data"], options(run, "model")["teacher"]
        asked = teacher.get("init_args", {})
        name = asked.get("name") or asked.get("model") or asked.get("path") or ""
        facts = data["splits"].items()
        splits = {split: own for split, own in facts if isinstance(own, dict) and "samples" in own}
        sizes = ", ".join(f"{split} {own['samples']}" for split, own in splits.items())
        lines.append(
            f"- {data.get('title', data['name'])} ({sizes}; test split {splits['test']['sha256']}); "
            f"{last(teacher['class_path'])} {Path(name).name}; seed {run['seed']}; commit {run['commit']}; "
            f"`{run['command']}`"
        )
    return "\n".join(lines) + "\n"
