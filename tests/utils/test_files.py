"""Files are whole, or not there and one line says why."""

import pytest

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import check_path, write_figure, write_json, write_text


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(InputError, match=r"results\.json cannot be written: No space left on device"):
        write_text_to_full_disk(path, monkeypatch)
    assert path.read_text() == '{\n "a": 1\n}\n' and [p.name for p in tmp_path.iterdir()] == ["results.json"]


def write_text_to_full_disk(path, monkeypatch):
    """`/dev/full` is a disk without a byte left."""
    monkeypatch.setattr("os.getpid", lambda: 1)
    path.with_name(f".{path.name}.1").symlink_to("/dev/full")
    write_text(path, "x" * 100_000)


def test_a_place_that_is_no_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_text(tmp_path / "file" / "a.txt", "x")
    with pytest.raises(InputError, match="cannot be written"):
        write_json(tmp_path / "none" / "a.json", [])


def test_half_a_surrogate_pair_costs_one_letter(tmp_path):
    write_text(tmp_path / "a.txt", "caf\u00e9 \ud83d")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "caf\u00e9 ?"


def test_figures(tmp_path):
    import matplotlib.pyplot as plt

    figure = plt.figure()
    write_figure(tmp_path / "curve.png", figure)
    plt.close(figure)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["curve.png"]


def test_what_is_no_path_is_one_line():
    for path in ("a\0b", "\ud800", "x" * 99 + "\0"):
        with pytest.raises(
            InputError, match=r"--model.cache: .* holds a character that no path has"
        ) as found:
            check_path("--model.cache", path)
        assert "\n" not in str(found.value) and "\0" not in str(found.value)
    for path in ("", "a b", "é", "\udcff", "x" * 5_000):  # \udcff is a byte of a name that is no UTF-8
        check_path("--model.cache", path)
