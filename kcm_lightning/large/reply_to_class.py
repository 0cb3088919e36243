"""How a reply of a chat model becomes a class."""

from collections.abc import Sequence


def class_of_reply(content: str, class_names: Sequence[str]) -> int:
    """The class that a reply names and nothing else, but for case, quotes, markup and a full stop.

    Args:
        content: words of the reply.
        class_names: in the order of the labels.

    Returns:
        A class index, or -1 where the reply names no class.

    >>> class_of_reply('"Positive."', ["negative", "positive"])
    1
    """
    word = _plain(content)
    names = [_plain(name) for name in class_names]
    return names.index(word) if word in names else -1


def _plain(word: str) -> str:
    return word.replace("_", " ").strip().strip("\"'.*` ").lower()
