"""Files that cannot be used are one line, whatever is wrong with them."""

import os
import sqlite3

import pytest

from kcm_lightning.large.answer_table import AnswerTable
from kcm_lightning.utils.errors import InputError

KEY, MODEL = (b"i" * 16, b""), b"m" * 16


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache" / "answers.sqlite"


def filled(path, rows: int = 2_000) -> AnswerTable:
    table = AnswerTable(path)
    table.write(MODEL, {(number.to_bytes(16), b""): os.urandom(400) for number in range(rows)})
    table._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return table


def close(table) -> None:
    table._connection.close()


@pytest.mark.parametrize("content", [b"garbage" * 1_000, b"SQLite format 3\0" + b"\xff" * 5_000])
def test_a_file_that_is_no_database_is_named(content, path):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"answers\.sqlite cannot be used: .*move the file away") as error:
        AnswerTable(path).read(MODEL, [KEY])
    assert "\n" not in str(error.value)


def test_a_file_that_was_overwritten_in_its_middle_is_named(path):
    close(filled(path))
    with path.open("r+b") as file:
        file.seek(8_192)
        file.write(b"\xee" * 400_000)
    with pytest.raises(InputError, match="malformed; move the file away"):
        table = AnswerTable(path)
        table.read(MODEL, [(number.to_bytes(16), b"") for number in range(2_000)])


def test_a_file_that_was_cut_off_is_named(path):
    close(filled(path))
    os.truncate(path, 100_000)
    with pytest.raises(InputError, match="malformed; move the file away"):
        AnswerTable(path).read(MODEL, [(number.to_bytes(16), b"") for number in range(2_000)])


def test_a_table_of_another_shape_is_named(path):
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE answers (model BLOB)")
    connection.close()
    for use in (lambda own: own.read(MODEL, [KEY]), lambda own: own.write(MODEL, {KEY: b"x"})):
        with pytest.raises(InputError, match=r"cannot be used: .*give another folder"):
            use(AnswerTable(path))


def test_a_lock_that_does_not_end_is_named(path):
    table = filled(path, rows=1)
    table._connection.execute("PRAGMA busy_timeout = 50")  # in place of a minute
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match="locked; another process has it") as error:
        table.write(MODEL, {KEY: b"x"})
    assert "\n" not in str(error.value)
    other.execute("ROLLBACK")
    table.write(MODEL, {KEY: b"x"})
    assert table.read(MODEL, [KEY]) == {KEY: b"x"} and table.damaged == 0


def test_a_full_disk_is_named_and_nothing_is_lost(path):
    table = filled(path, rows=10)
    pages = table._connection.execute("PRAGMA page_count").fetchone()[0]
    table._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(InputError, match="full; give another folder"):
        table.write(MODEL, {KEY: b"x" * 100_000})
    assert len(table.read(MODEL, [(number.to_bytes(16), b"") for number in range(10)])) == 10


def test_models_do_not_see_each_others_answers(path):
    table = filled(path, rows=3)
    keys = [(number.to_bytes(16), b"") for number in range(3)]
    assert len(table.read(MODEL, keys)) == 3 and table.read(b"n" * 16, keys) == {}
