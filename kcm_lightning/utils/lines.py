"""Lines of files that may be anything."""

import io
from collections.abc import Iterator


def lines_up_to(file: io.BufferedIOBase, most: int) -> Iterator[bytes | None]:
    """The lines of a file, with their ends; None for one of more than `most` bytes, which is passed over.

    Args:
        file: open for reading bytes. No more than `most` bytes of it are held at a time.
        most: bytes of a line at most, its end not counted.
    """
    while line := file.readline(most + 1):
        if len(line) <= most or line.endswith(b"\n"):
            yield line
            continue
        while (rest := file.readline(most)) and not rest.endswith(b"\n"):
            pass
        yield None
