"""JSON lines and what is none."""

import pytest

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.json_lines import read_json_lines


def test_rows_come_with_their_numbers(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('\ufeff{"a": 1}\n\n{"a": "\u2028"}\n', encoding="utf-8")
    assert list(read_json_lines(file, "--x")) == [(1, {"a": 1}), (3, {"a": "\u2028"})]


def test_bad_files_are_one_line(tmp_path):
    file = tmp_path / "rows.jsonl"
    with pytest.raises(InputError, match="--x: there is no file"):
        list(read_json_lines(file, "--x"))
    for content, said in ((b'{"a": 1}\n[1]\n', "line 2: not a JSON object"), (b"\xff\xfe\n", "is no UTF-8")):
        file.write_bytes(content)
        with pytest.raises(InputError, match=said):
            list(read_json_lines(file, "--x"))
