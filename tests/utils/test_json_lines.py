"""JSON lines and what is none."""

import pytest

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.json_lines import MAX_LINE, read_json_lines


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


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"index": 1, "index": 2}', "the key 'index' is there twice"),
        (b'{"index": Infinity}', "Infinity is no number"),
        (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"a": "' + b"x" * MAX_LINE + b'"}', r"more than 2,000,000 bytes long"),
    ],
)
def test_lines_that_say_two_things_or_never_end(tmp_path, line, said):
    file = tmp_path / "rows.jsonl"
    file.write_bytes(b'{"index": 0}\n' + line + b"\n")
    with pytest.raises(InputError, match=rf"rows\.jsonl, line 2: not a JSON object \(.*{said}"):
        list(read_json_lines(file, "--x"))


def test_a_file_that_may_not_be_read_is_one_line(tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    file.write_text("{}")

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match=r"--x: .*rows\.jsonl cannot be read: Permission denied"):
        list(read_json_lines(file, "--x"))
