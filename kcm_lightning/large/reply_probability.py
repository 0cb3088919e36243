"""How sure a chat model is of the words of its answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kcm_lightning.large.reply_marks import SPECIAL_TOKEN


@dataclass
class Step:
    """A token of a reply.

    Args:
        token: its text.
        logprob: logarithm of its probability.
        encoded: its bytes in UTF-8, which may be a part of a letter; None where they are not given.
    """

    token: str
    logprob: float
    encoded: bytes | None = None


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
    kept = [
        step for step in steps if not SPECIAL_TOKEN.fullmatch(step.token) and (step.token or step.encoded)
    ]
    words, rest = _bytes_of(content[start:end].strip()), _bytes_of(content[start:].strip())
    if not words:
        return None
    texts = [_bytes_of(step.token.replace("▁", " ").replace("Ġ", " ")) for step in kept]
    given = [text if step.encoded is None else step.encoded for step, text in zip(kept, texts, strict=True)]
    for tokens in (given, texts):
        said = b"".join(tokens).rstrip()
        if said.endswith(rest):
            first = len(said) - len(rest)
            return _product(tokens, [step.logprob for step in kept], first, first + len(words))
    return None


def _product(tokens: Sequence[bytes], logprobs: Sequence[float], first: int, last: int) -> float:
    total, place = 0.0, 0
    for token, logprob in zip(tokens, logprobs, strict=True):
        if place < last and place + len(token) > first:
            total += logprob
        place += len(token)
    return min(1.0, math.exp(total))


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
