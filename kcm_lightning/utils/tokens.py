"""Special tokens that every vocabulary begins with, and what counts as a word."""

import re
from typing import Any, TypeGuard

PADDING, BEGIN, END, UNKNOWN = range(4)
NEVER_SAID = [PADDING, BEGIN, UNKNOWN]  # tokens that no caption contains
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def is_text(value: Any) -> TypeGuard[str]:
    """Whether a value is a text that can be written; half of a surrogate pair, as in some JSON, cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return _WORD.findall(text.lower())
