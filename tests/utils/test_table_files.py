"""Tables as people have them: Excel's, with marks, quotes and line ends, and what is wrong with some."""

import csv
import json

import pytest

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.table_files import read_table

ROWS = [
    {"text": 'says "good", twice', "label": "a;b"},
    {"text": "two\nlines, one cell", "label": "ß | ü"},
    {"text": "", "label": "tab\there"},
]


def read(path, *columns):
    return [row for _, row in read_table(path, "--data.path", columns)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_is_read_as_it_was_written(tmp_path, delimiter, encoding, end):
    path = tmp_path / "rows.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"], delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        writer.writerows(ROWS)
    assert read(path, "text", "label") == ROWS


def test_json_lines_and_parquet_keep_their_types(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = [{"text": "one", "label": 3, "more": None}, {"text": "two", "label": 4, "more": [1]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert read(tmp_path / "rows.jsonl") == rows == read(tmp_path / "rows.parquet")


def test_empty_lines_are_no_rows_and_rows_are_counted(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text("a\tb\n\n1\t2\n\n3\t4\n")
    assert list(read_table(path, "--x")) == [(1, {"a": "1", "b": "2"}), (2, {"a": "3", "b": "4"})]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"a,a\n1,2\n", "a name twice"),
        ("a.csv", b"a,\n1,2\n", "without letters"),
        ("a.csv", b"text,b\n1,2\n3\n", r"row 2 \(line 3\) has 1 fields, the head 2"),
        ("a.csv", b"a,b\n1,\xff\n", "is no UTF-8"),
        ("a.csv", b'a,b\n"x"y,2\n', "expected after"),
        ("a.csv", b"a,b\n1,2\n", "has no column 'text'; it has a, b"),
        ("a.xlsx", b"x", "is none of .csv"),
        ("a.jsonl", b"[1]\n", "not a JSON object"),
        ("a.parquet", b"PAR1", "is no whole Parquet file"),
        ("none", None, "there is no file"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read(tmp_path / name, "text")
    assert "\n" not in str(error.value)


def test_a_large_file_is_read_row_by_row(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n" + "1,2\n" * 100_000 + "broken\n")
    rows = read_table(path, "--x")
    assert next(rows) == (1, {"a": "1", "b": "2"})  # before the end is known
    with pytest.raises(InputError, match="row 100001"):
        list(rows)
