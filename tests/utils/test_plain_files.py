"""YAML and JSON of options and results, and what is none."""

import pytest

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.plain_files import read_json, read_yaml

ALIASES = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdef", "bcdefg", strict=True)
)


def test_plain_values_come_as_they_are(tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("model: &m {loss: plain, lr: 0.1}\nother: {<<: *m, loss: tlc}\n")
    assert read_yaml(file) == {
        "model": {"loss": "plain", "lr": 0.1},
        "other": {"loss": "tlc", "lr": 0.1},
    }
    file.write_text("# nothing yet\n")
    assert read_yaml(file) == {}
    file.write_text('{"a": [1, {"b": null}]}')
    assert read_json(file) == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\nb: 2\na: 3\n", "the key 'a' is there twice"),
        (b"- " * 5_000, "nested too deeply"),
        (b"{a: " * 60 + b"1" + b"}" * 60, "nested too deeply"),
        (b"a: &a [*a]", "nested too deeply"),
        (ALIASES.encode(), "more than 100,000 values"),
        (b"a: " + b"x" * 2**20, "more than the 1,048,576"),
        (b"- 1", "holds no names with values"),
        (b"a: \xff", "is no UTF-8"),
        (b"a: !!bool maybe", "is no YAML"),
        (b"a: !!timestamp never", "is no YAML"),
        (b"a: !!python/object/apply:os.getcwd []", "is no YAML"),
        (b"a: [1", "is no YAML"),
    ],
)
def test_bad_yaml_is_one_line(tmp_path, content, said):
    file = tmp_path / "options.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=said) as found:
        read_yaml(file)
    assert str(file) in str(found.value) and "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' is there twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' * 60 + b"1" + b"}" * 60, "nested too deeply"),
        (b"[1]", "holds no names with values"),
        (b'{"a": ', "is no JSON"),
        (b'{"a": ' + b"1" * 5_000 + b"}", "is no JSON"),
        (b"\xff", "is no UTF-8"),
    ],
)
def test_bad_json_is_one_line(tmp_path, content, said):
    file = tmp_path / "results.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=said) as found:
        read_json(file)
    assert str(file) in str(found.value) and "\n" not in str(found.value)
    with pytest.raises(InputError, match="there is no file"):
        read_json(tmp_path)
