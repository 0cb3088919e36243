"""Reads what a chat server sends back, as tolerantly as it can be done without guessing."""

import re
from dataclasses import dataclass, field
from typing import Any

from kcm_lightning.large.budget import Cost
from kcm_lightning.large.chat_errors import Meaning, NoReply, meaning_of
from kcm_lightning.large.chat_events import is_stream, whole_of_stream
from kcm_lightning.large.error_reply import error_reply, is_error
from kcm_lightning.large.http_client import HttpReply
from kcm_lightning.large.reply_json import read_json
from kcm_lightning.large.reply_marks import in_one_form
from kcm_lightning.large.reply_probability import Step

_MORE_THAN_ASKED = 200_000  # tokens that a server's own prompt, or hidden reasoning, may have
_FILTERED = re.compile(r"filter|safety|prohibited|blocklist|refusal|moderat|sensitive|recitation")
_TROUBLE = re.compile(
    r"error|insufficient|abort|fail|cancel|time_?out|interrupt|overload|unavailable|exhausted|disconnect"
)
_REASONING_PARTS = ("thinking", "reasoning", "redacted_thinking")


@dataclass
class ChatReply:
    """What a chat model said.

    Args:
        content: its words.
        steps: the tokens of these, where the server gives their probabilities.
        cost: tokens, where the server counts them believably.
        refusal: why it refuses; None where it does not.
        cut: whether it was cut off for its length.
    """

    content: str
    steps: list[Step] = field(default_factory=list)
    cost: Cost | None = None
    refusal: str | None = None
    cut: bool = False


def read_reply(reply: HttpReply, most: tuple[int, int]) -> ChatReply:
    """The first choice of a reply.

    Args:
        reply: JSON, or a stream of events.
        most: the most tokens that question and reply could have.

    Raises:
        ServerError: it is an error, with whatever status, or a web page.
        NoReply: it is neither reply nor error.
    """
    text = reply.body.decode("utf-8", "replace").lstrip("\ufeff").strip()
    if not 200 <= reply.status < 300 or text.startswith("<"):
        raise error_reply(reply.status, text, reply.headers)
    body = _object_in(text, reply)
    choices = body.get("choices")
    choice = (
        next((one for one in choices if isinstance(one, dict)), None) if isinstance(choices, list) else None
    )
    said = "" if choice is None else _text(_message(choice).get("content"))
    if is_error(body, answered=bool(said)) or (choice and is_error(choice)):
        holder = body if is_error(body, answered=bool(said)) else choice
        raise error_reply(reply.status, holder, reply.headers)
    if choice is None and "choices" not in body and any(body.get(n) for n in ("message", "detail", "msg")):
        raise error_reply(reply.status, body, reply.headers)
    cost = _believable_cost(body.get("usage"), most, said=bool(said))
    if choice is None:
        raise NoReply(f"the reply has no choices: {text[:120]!r}", billed=True, cost=cost)
    return _chosen(choice, said, cost)


def chosen_reply(body: dict[str, Any]) -> ChatReply | None:
    """The first choice of a reply that was logged; None where it came to nothing."""
    choice = next((one for one in body["choices"] if isinstance(one, dict)), None)
    if choice is None:
        return None
    try:
        return _chosen(choice, _text(_message(choice).get("content")), cost=None)
    except NoReply:
        return None


def _object_in(text: str, reply: HttpReply) -> dict[str, Any]:
    """The JSON object that a reply is, or that its events add up to."""
    if is_stream(text):
        return whole_of_stream(text, reply.status, reply.headers)
    try:
        body = read_json(text)
    except NoReply:
        error = error_reply(reply.status, text, reply.headers)
        if text[:1] not in ("{", "[", '"') and meaning_of(error) is not Meaning.LATER:
            raise error from None  # in words alone
        raise
    if not isinstance(body, dict):
        raise NoReply(f"the reply is no JSON object but {text[:80]!r}", billed=True)
    return body


def _message(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    return message if isinstance(message, dict) else {"content": message or choice.get("text")}


def _chosen(choice: dict[str, Any], content: str, cost: Cost | None) -> ChatReply:
    refusal = _text(_message(choice).get("refusal")).strip()
    ended = str(choice.get("finish_reason") or "").lower()
    if not refusal and _FILTERED.search(ended):
        refusal = f"finish_reason {ended}"
    if not refusal and _TROUBLE.search(ended):  # words before it are not all that it was to say
        raise NoReply(f"the server ended its reply with finish_reason {ended[:80]}", billed=True, cost=cost)
    cut = ended in ("length", "max_tokens", "model_length")
    return ChatReply(in_one_form(content, cut), _steps(choice.get("logprobs")), cost, refusal or None, cut)


def _text(content: Any) -> str:
    """The words of a message, which may come in parts; those of reasoning are left out."""
    if isinstance(content, dict):
        return "" if content.get("type") in _REASONING_PARTS else _text(content.get("text"))
    if isinstance(content, list):
        return "".join(map(_text, content))
    return content if isinstance(content, str) else ""


def _steps(logprobs: Any) -> list[Step]:
    """The tokens with their probabilities, in any of the forms that servers have for them."""
    pairs = logprobs
    if isinstance(logprobs, dict):
        tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
        pairs = logprobs.get("content")
        if isinstance(tokens, list) and isinstance(values, list):
            pairs = [{"token": one, "logprob": two} for one, two in zip(tokens, values, strict=False)]
    steps = []
    for pair in pairs if isinstance(pairs, list) else []:
        token, logprob = (pair.get("token"), pair.get("logprob")) if isinstance(pair, dict) else (None, None)
        if not isinstance(token, str) or logprob is None or not _is_logprob(logprob):
            return []
        steps.append(Step(token, float(logprob), _encoded(pair.get("bytes")), _others(pair)))
    return steps


def _others(pair: dict[str, Any]) -> dict[str, float]:
    """The tokens that could have stood in a token's place, where the server says."""
    rows = pair.get("top_logprobs")
    if isinstance(rows, dict):  # as the older interface has it
        rows = [{"token": token, "logprob": logprob} for token, logprob in rows.items()]
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return {
        row["token"]: float(row["logprob"])
        for row in rows
        if isinstance(row.get("token"), str) and _is_logprob(row.get("logprob"))
    }


def _is_logprob(value: Any) -> bool:
    """Whether a value may be the logarithm of a probability, with what rounding does to 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e6 <= value <= 0.01


def _encoded(values: Any) -> bytes | None:
    """The bytes of a token, which a server gives as a list of numbers."""
    good = isinstance(values, list) and all(isinstance(value, int) and 0 <= value <= 255 for value in values)
    return bytes(values) if good else None


def _believable_cost(usage: Any, most: tuple[int, int], *, said: bool) -> Cost | None:
    """The tokens that a server has counted; None where it has not, or where no question can have as many.

    Args:
        usage: its counts.
        most: the most tokens that question and reply could have.
        said: whether the reply has words; a question always has some.
    """
    counts = []
    names, least = ("prompt_tokens", "completion_tokens"), (1, int(said))
    for name, limit, fewest in zip(names, most, least, strict=True):
        count = usage.get(name) if isinstance(usage, dict) else None
        if not isinstance(count, int | float) or isinstance(count, bool):
            return None
        if not fewest <= count <= limit + _MORE_THAN_ASKED or count != int(count):
            return None
        counts.append(int(count))
    return Cost(0, *counts)
