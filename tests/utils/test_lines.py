"""Lines of any length, of which the long ones are passed over."""

import gzip
import io

from kcm_lightning.utils.lines import lines_up_to


def test_lines_are_those_of_the_file():
    content = b"one\n\ntwo\r\nthree\xff\nlast"
    assert list(lines_up_to(io.BytesIO(content), 10)) == content.splitlines(keepends=True)
    assert list(lines_up_to(io.BytesIO(b""), 10)) == []


def test_long_lines_are_passed_over_to_their_end():
    lines = [b"a" * length + b"\n" for length in (9, 10, 11, 12, 19, 20, 21, 22, 500, 3)]
    expected = [line if len(line) <= 11 else None for line in lines]
    assert list(lines_up_to(io.BytesIO(b"".join(lines)), 10)) == expected
    assert list(lines_up_to(io.BytesIO(b"b" * 100), 10)) == [None]
    assert list(lines_up_to(io.BytesIO(b"b" * 10), 10)) == [b"b" * 10]
    packed = io.BytesIO(gzip.compress(b"".join(lines)))
    assert list(lines_up_to(io.BufferedReader(gzip.GzipFile(fileobj=packed)), 10)) == expected
