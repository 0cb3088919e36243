"""How a reply of a chat model becomes a class."""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from kcm_lightning.large.reply_marks import TAG

_BOXED = re.compile(r"\A\W*\\(?:boxed|text|textbf|mathrm)\{(.*)\}\W*\Z")
_HTML = re.compile(r"</?[a-zA-Z][^<>]*>")
_AROUND_WORDS = " \"'`*_.,:;!?\u2018\u2019\u201c\u201d«»。"
_MARKUP = _AROUND_WORDS + "~#>|()[]{}「」$\\"
_MOST_AROUND = 200  # characters of a line beside the name
_MOST_LINES = 1_000  # that are looked at, from the last one


class NamedClass(NamedTuple):
    """A class that a reply names, and where.

    Args:
        label: index of the class; -1 for none.
        start: where the line that names it begins in the reply.
        end: where that line ends.
    """

    label: int
    start: int
    end: int


def class_of_reply(content: str, class_names: Sequence[str], strict: bool = False) -> int:
    """The class that a reply names, by `named_class`; -1 for none.

    >>> class_of_reply("<think>Not positive, I think.</think>**Negative.**", ["negative", "positive"])
    0
    """
    return named_class(content, class_names, strict).label


def named_class(
    content: str, class_names: Sequence[str], strict: bool = False, cut: bool = False
) -> NamedClass:
    """The class that a reply names: the last line that is the name of a class, reasoning taken out.

    Reasoning is what stands between `<think>` and `</think>`, also where its beginning or its end is missing.
    Of a line, case, punctuation and markup around the name do not count, and an underscore is a space. Of a
    reply that was cut off only its very last line counts, and not if more of it could be another name: what
    is above may be a list of the choices.

    Args:
        content: words of the reply.
        class_names: in the order of the labels.
        strict: whether the whole reply must be one such line.
        cut: whether the reply was cut off for its length.
    """
    kept = content if strict else _without_reasoning(content)
    longest = max(map(len, class_names)) + _MOST_AROUND
    one_line = "\n" not in kept.strip()
    end = len(kept.rstrip()) if one_line else len(kept)
    for _ in range(0 if strict and not one_line else 1 if cut else _MOST_LINES):
        start = kept.rfind("\n", 0, end) + 1
        words = kept[start:end].strip()
        if words and len(words) <= longest and (label := _label(words, class_names)) is not None:
            if cut and _may_go_on(words, label, class_names):
                break
            start = kept.index(words, start)
            return NamedClass(label, start, start + len(words))
        end = start - 1
        if end < 0:
            break
    return NamedClass(-1, 0, len(content))


def _without_reasoning(content: str) -> str:
    """The reply with spaces in place of its reasoning, so that what stays keeps its place."""
    kept: list[tuple[int, int]] = []
    kept_from, reasoning_from = 0, None
    for tag in TAG.finditer(content):
        if not tag[1]:
            reasoning_from = tag.start() if reasoning_from is None else reasoning_from
        elif reasoning_from is None:  # its beginning may be part of the prompt
            kept, kept_from = [], tag.end()
        else:
            kept.append((kept_from, reasoning_from))
            kept_from, reasoning_from = tag.end(), None
    kept.append((kept_from, len(content) if reasoning_from is None else reasoning_from))
    parts, place = [], 0
    for start, end in kept:
        parts += [" " * (start - place), content[start:end]]
        place = end
    return "".join(parts)


def _may_go_on(words: str, label: int, class_names: Sequence[str]) -> bool:
    """Whether words that were cut off may be the beginning of another class's name."""
    said, name = _as_it_stands(words), _as_it_stands(class_names[label])
    others = [_as_it_stands(other) for i, other in enumerate(class_names) if i != label]
    return said.endswith(name) and any(other.startswith(name) for other in others)


def _label(line: str, class_names: Sequence[str]) -> int | None:
    """The class whose name a line is, ever more of what surrounds it left out until one alone fits."""
    inner = _HTML.sub("", line)
    while (bare := _BOXED.sub(r"\1", inner)) != inner:
        inner = bare
    for plain in (_as_it_stands, _without_quotes, _without_markup, _letters_and_digits):
        word = plain(inner)
        for names in (map(_as_it_stands, class_names), map(plain, class_names)):
            labels = [label for label, name in enumerate(names) if word == name != ""]
            if len(labels) == 1:  # "C" and "C#" are one where only letters count
                return labels[0]
    return None


def _as_it_stands(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("_", " ")
    return " ".join(folded.split())


def _without_quotes(text: str) -> str:
    return _as_it_stands(text).strip(_AROUND_WORDS)


def _without_markup(text: str) -> str:
    return _as_it_stands(text).strip(_MARKUP)


def _letters_and_digits(text: str) -> str:
    """From the first letter, or digit with its sign, to the last."""
    kept = re.search(r"([+-]?\d|\w)(.*\w)?", _as_it_stands(text))
    return kept[0] if kept else ""
