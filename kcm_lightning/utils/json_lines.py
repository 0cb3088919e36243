"""Files of JSON lines."""

import json
from collections.abc import Iterator
from pathlib import Path

from kcm_lightning.utils.errors import InputError


def read_json_lines(path: Path, option: str) -> Iterator[tuple[int, dict]]:
    """The objects of a file and their line numbers, from 1; empty lines are passed over.

    Args:
        path: the file.
        option: the option of the configuration that names it.

    Raises:
        InputError: the file is missing, no UTF-8, or a line is no JSON object.
    """
    if not path.is_file():
        raise InputError(f"{option}: there is no file {str(path)!r}")
    with path.open(encoding="utf-8-sig") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("no object")
                    yield number, row
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is no UTF-8: {error}") from error
        except ValueError as error:
            raise InputError(f"{path}, line {number}: not a JSON object ({error})") from error
