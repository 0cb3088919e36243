"""Files of JSON lines."""

from collections.abc import Iterator
from pathlib import Path

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.lines import lines_up_to
from kcm_lightning.utils.strict_json import parse_json

MAX_LINE = 2_000_000  # bytes


def read_json_lines(path: Path, option: str) -> Iterator[tuple[int, dict]]:
    """The objects of a file and their line numbers, from 1; empty lines are passed over.

    Args:
        path: the file.
        option: the option of the configuration that names it.

    Raises:
        InputError: the file is missing, no UTF-8, or a line is no JSON object, says a key twice, has NaN or
            Infinity, is nested too deeply, or is longer than `MAX_LINE`.
    """
    if not path.is_file():
        raise InputError(f"{option}: there is no file {str(path)!r}")
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(lines_up_to(file, MAX_LINE), 1):
                if line is None:
                    raise ValueError(f"more than {MAX_LINE:,} bytes long")
                if line.strip() not in (b"", b"\xef\xbb\xbf"):
                    row = parse_json(line)
                    if not isinstance(row, dict):
                        raise ValueError("no object")
                    yield number, row
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8: {error}") from error
    except ValueError as error:
        raise InputError(f"{path}, line {number}: not a JSON object ({error})") from error
    except OSError as error:
        raise InputError(f"{option}: {path} cannot be read: {error.strerror}") from error
