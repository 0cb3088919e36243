"""What captions are made of: the numbers that every vocabulary begins with, and what counts as a word."""

import re

PADDING, BEGIN, END, UNKNOWN = range(4)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def words_of(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return _WORD.findall(text.lower())
