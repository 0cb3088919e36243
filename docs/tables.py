"""Tables of the documents, made anew out of the results that are kept in docs/results.

A table follows a line `<!-- report ARGUMENTS -->`: it is what `python -m kcm_lightning report ARGUMENTS`
prints.

    python docs/tables.py           writes the tables into the documents
    python docs/tables.py --check   fails where a table is not what its command prints
"""

import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

from kcm_lightning.cli.main import main as kcm_lightning

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = re.compile(r"(<!-- (report .+?) -->\n\n)(?:\|.*\n)*\n?")


def printed(command: str) -> str:
    """The one table that a command prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        kcm_lightning(shlex.split(command))
    tables = re.findall(r"(?:^\|.*\n)+", output.getvalue(), re.MULTILINE)
    if len(tables) != 1:
        sys.exit(f"`{command}` prints {len(tables)} tables, not one")
    return tables[0]


def made_anew(text: str) -> str:
    """A document's text with each marked table as its command prints it now."""
    return MARKED.sub(lambda found: found[1] + printed(found[2]) + "\n", text)


def main() -> None:
    stale = []
    for document in DOCUMENTS:
        text = document.read_text()
        new = made_anew(text)
        if new != text:
            stale.append(document.name)
            if "--check" not in sys.argv:
                document.write_text(new)
    if stale:
        print(("not up to date: " if "--check" in sys.argv else "written: ") + ", ".join(stale))
    if stale and "--check" in sys.argv:
        sys.exit(1)


if __name__ == "__main__":
    main()
