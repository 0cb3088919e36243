"""JSON that says one thing: no key twice, no NaN or Infinity, not nested without end."""

import json
import re
from codecs import BOM_UTF8
from typing import Any


def parse_json(text: str | bytes, *, finite: bool = True) -> Any:
    """What a JSON text says; Python's own reader takes the last of two equal keys, and NaN for a number.

    Args:
        text: the text, UTF-8 where it is bytes.
        finite: whether NaN, Infinity and numbers that are too large for a float are errors.

    Raises:
        ValueError: it is no JSON, has a key twice in one object, such a number, or is nested deeper than
            Python reads (close to 1,000 levels).
    """
    if isinstance(text, bytes):
        text = text.removeprefix(BOM_UTF8).decode()
    try:
        return _DECODERS[finite].decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def whole_number(value: Any) -> int:
    """A value that stands for a whole number, as a number or in the digits 0 to 9; never a rounded one.

    >>> whole_number(7), whole_number("7"), whole_number(7.0)
    (7, 7, 7)

    Raises:
        ValueError: it stands for none, as 1.9, "1_0", true and null do; or is a float that may be rounded.
    """
    if isinstance(value, str):
        whole = _DIGITS.fullmatch(value) is not None  # `int` takes "1_0" for 10
    elif isinstance(value, float):
        whole = value.is_integer() and abs(value) <= _LARGEST_EXACT
    else:
        whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole:
        raise ValueError(f"{repr(value)[:60]} is no whole number")
    return int(value)


_DIGITS = re.compile(r"-?[0-9]+")
_LARGEST_EXACT = 2**53  # above it, several whole numbers are one float


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
    return found


def _refused(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if abs(value) < float("inf") else _refused(text)


_DECODERS = {  # made once: `json.loads` with options makes one each time
    True: json.JSONDecoder(object_pairs_hook=_no_key_twice, parse_constant=_refused, parse_float=_finite),
    False: json.JSONDecoder(object_pairs_hook=_no_key_twice),
}
