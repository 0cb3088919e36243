"""How sure a chat model is of the words of its answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from kcm_lightning.large.reply_marks import SPECIAL_TOKEN


@dataclass
class Step:
    """A token of a reply.

    Args:
        token: its text.
        logprob: logarithm of its probability.
        encoded: its bytes in UTF-8, which may be a part of a letter; None where they are not given.
        others: the same of the tokens that could have stood here, where they are given.
    """

    token: str
    logprob: float
    encoded: bytes | None = None
    others: dict[str, float] = field(default_factory=dict)


def probability_of(content: str, steps: list[Step], start: int = 0, end: int | None = None) -> float | None:
    """Probability of some of the words of a reply.

    The tokens may have more before these words, such as the reasoning, which some servers leave out of the
    content.

    Args:
        content: the words.
        steps: the tokens, those of special meaning included.
        start: where in the content the words begin.
        end: where they end; None for the end of the content.

    Returns:
        The product over the tokens that they have a part in; None where the tokens do not end as the content
        does from these words on.
    """
    own = _steps_of(content, steps, start, end)
    return min(1.0, math.exp(sum(step.logprob for step in own))) if own else None


def beginnings(
    content: str, steps: list[Step], start: int = 0, end: int | None = None
) -> dict[str, float] | None:
    """Probabilities of the tokens that some of the words of a reply could have begun with.

    Args:
        content: see `probability_of`.
        steps: see `probability_of`.
        start: see `probability_of`.
        end: see `probability_of`.

    Returns:
        By token; None where the server does not say.
    """
    own = _steps_of(content, steps, start, end)
    if not own or not own[0].others:
        return None
    return {token: min(1.0, math.exp(logprob)) for token, logprob in own[0].others.items()}


def _steps_of(content: str, steps: list[Step], start: int, end: int | None) -> list[Step]:
    """The tokens that have a part in some of the words; none where they do not end as the content does."""
    kept = [
        step for step in steps if not SPECIAL_TOKEN.fullmatch(step.token) and (step.token or step.encoded)
    ]
    words, rest = _bytes_of(content[start:end].strip()), _bytes_of(content[start:].strip())
    if not words:
        return []
    texts = [_bytes_of(step.token.replace("▁", " ").replace("Ġ", " ")) for step in kept]
    given = [text if step.encoded is None else step.encoded for step, text in zip(kept, texts, strict=True)]
    for tokens in (given, texts):
        said = b"".join(tokens).rstrip()
        if said.endswith(rest):
            first = len(said) - len(rest)
            return _between(kept, tokens, first, first + len(words))
    return []


def _between(steps: list[Step], tokens: Sequence[bytes], first: int, last: int) -> list[Step]:
    """Those of the tokens that have a part in some bytes."""
    found, place = [], 0
    for step, token in zip(steps, tokens, strict=True):
        if place < last and place + len(token) > first:
            found.append(step)
        place += len(token)
    return found


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
