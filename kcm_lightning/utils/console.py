"""What a command says to the person before it."""

import os
import shutil
import sys
import textwrap

from rich.console import Console

PROGRAM = "python -m kcm_lightning"


def say(text: str) -> None:
    """Prints lines as they are: a path may hold brackets, colons, or bytes that are no letters.

    Of several processes on a machine, the first one alone speaks.

    Args:
        text: one line or several.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    printable = text.encode("utf-8", "replace").decode()
    console().print(printable, soft_wrap=True, markup=False, emoji=False, highlight=False)


def console() -> Console:
    """Where lines and tables are printed: as plain text in a notebook too, which stores them."""
    shows_bold = sys.stdout.isatty() and "ipykernel" not in sys.modules
    return Console(force_jupyter=False, force_terminal=shows_bold)


def wrapped(text: str, *, indent: int, first: str | None = None) -> list[str]:
    """Lines of a text that fit the terminal, at most 100 columns.

    Args:
        text: of any length.
        indent: columns of space before each line.
        first: what stands before the first line in place of the space.
    """
    width = min(100, shutil.get_terminal_size().columns)
    space = " " * indent
    return textwrap.wrap(
        text,
        width,
        initial_indent=space if first is None else first,
        subsequent_indent=space,
        break_long_words=False,
        break_on_hyphens=False,
    )
