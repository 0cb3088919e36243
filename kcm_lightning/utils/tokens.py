"""Special tokens that every vocabulary begins with, and what counts as a word."""

import re

PADDING, BEGIN, END, UNKNOWN = range(4)
NEVER_SAID = [PADDING, BEGIN, UNKNOWN]  # tokens that no caption contains
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return _WORD.findall(text.lower())
