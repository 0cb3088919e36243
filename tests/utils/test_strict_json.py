"""JSON says one thing, or is refused."""

import json

import pytest

from kcm_lightning.utils.strict_json import parse_json, whole_number


def test_sound_json_is_what_python_reads():
    text = '{"a": [1, -2.5e3, true, null, "\\u00e9 \u2028"], "b": {"a": {}, "c": []}, "": 1e-400}'
    assert parse_json(text) == parse_json(text.encode()) == json.loads(text)
    assert parse_json(b'\xef\xbb\xbf{"a": 1}\n') == {"a": 1}
    assert json.dumps(parse_json("NaN", finite=False)) == "NaN"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 1}', "the key 'a' is there twice"),
        ('[{"b": {"a": 1, "\\u0061": 2}}]', "the key 'a' is there twice"),
        ('{"a": NaN}', "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("[1e999]", "1e999 is no number"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[" * 50_000 + "]" * 50_000, "nested too deeply"),
        ("1" * 5_000, "4300"),
        ('{"a": 1} {"a": 2}', "Extra data"),
        ("", "Expecting value"),
        (b'{"a": "\xff"}', "utf-8"),
    ],
)
def test_what_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        parse_json(text)


def test_whole_numbers_are_never_rounded():
    for value, whole in ((7, 7), ("7", 7), (7.0, 7), (-1, -1), (2**70, 2**70), ("-3", -3), ("007", 7)):
        assert whole_number(value) == whole
    texts = ("1.9", "", "one", "1_0", " 7", "7\n", "+7", "\u0667", "\uff17", "0x1", "1e3", "9" * 5_000)
    for value in (1.9, True, False, None, float("inf"), float("nan"), [1], {}, 2.0**60, *texts):
        with pytest.raises(ValueError):
            whole_number(value)
