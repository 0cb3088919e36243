"""Tables as Markdown, CSV, LaTeX and on the console."""

import csv
import io
from collections.abc import Iterable
from statistics import mean, stdev

from rich.table import Table
from rich.text import Text

from kcm_lightning.utils.console import console


def percent(value: float | None) -> str:
    """A fraction in per cent with two digits; a dash for None."""
    return "-" if value is None else f"{100 * value:.2f}"


def spread(values: Iterable[float | None]) -> str:
    """Mean of fractions, in per cent, and standard deviation where there are several; a dash for none.

    >>> spread([0.5, 0.6])
    '55.00 ± 7.07'
    """
    known = [100 * value for value in values if value is not None]
    if not known:
        return "-"
    return f"{mean(known):.2f}" + (f" ± {stdev(known):.2f}" if len(known) > 1 else "")


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, first column left and the others right aligned."""

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    ruler = "| --- |" + " ---: |" * (len(head) - 1)
    return "\n".join([line(head), ruler, *map(line, rows)]) + "\n"


def csv_table(head: list[str], rows: list[list[str]]) -> str:
    """Comma-separated values with a head."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


_LATEX = str.maketrans(
    {character: f"\\{character}" for character in "%_&#{}$"}
    | {"±": "$\\pm$", "\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}
)


def latex_table(head: list[str], rows: list[list[str]]) -> str:
    """A `tabular` with booktabs rules, first column left and the others right aligned."""
    body = [" & ".join(cell.translate(_LATEX) for cell in row) + r" \\" for row in [head, *rows]]
    columns = "l" + "r" * (len(head) - 1)
    start, end = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"], [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*start, body[0], r"\midrule", *body[1:], *end]) + "\n"


def print_table(head: list[str], rows: list[list[str]], title: str) -> None:
    """A table on the console; brackets in it are brackets, not styles."""
    table = Table(title=Text(title, style="table.title"))
    for i, name in enumerate(head):
        table.add_column(Text(name), justify="right" if i else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    console().print(table)
