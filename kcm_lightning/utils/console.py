"""What a command says to the person before it."""

from rich.console import Console

PROGRAM = "python -m kcm_lightning"


def say(text: str) -> None:
    """Prints lines as they are: a path may hold brackets, colons, or bytes that are no letters.

    Args:
        text: one line or several.
    """
    printable = text.encode("utf-8", "replace").decode()
    Console().print(printable, soft_wrap=True, markup=False, emoji=False, highlight=False)
