"""A reply that comes as a stream of events."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kcm_lightning.large.chat_errors import NoReply
from kcm_lightning.large.error_reply import error_reply, is_error
from kcm_lightning.large.reply_json import read_json


def is_stream(text: str) -> bool:
    """Whether a body is a stream of events, whatever its headers say."""
    return text.startswith(("data:", "event:", "id:", "retry:", ":"))


def whole_of_stream(text: str, status: int, headers: Mapping[str, str]) -> dict[str, Any]:
    """The one reply that the events of a stream add up to, in the form of a reply that comes whole.

    Args:
        text: the stream.
        status: HTTP status.
        headers: of the reply.

    Raises:
        ServerError: an event is an error.
        NoReply: the stream broke off, or an event is no JSON.
    """
    words: dict[str, list] = {"content": [], "refusal": []}
    tokens: list = []
    usage, ended, any_choice = None, None, False
    for name, data in _events(text):
        if data == "[DONE]":
            ended = ended or "stop"
            break
        event = read_json(data)
        event = event if isinstance(event, dict) else {"message": event} if name == "error" else {}
        choices = event.get("choices")
        choices = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
        if name == "error":
            raise error_reply(status, event, headers)
        for holder in (event, *choices):
            if is_error(holder, answered=bool(choices)):
                raise error_reply(status, holder, headers)
        usage = event.get("usage") or usage
        for choice in choices:
            if choice.get("index") not in (None, 0):
                continue
            any_choice, ended = True, choice.get("finish_reason") or ended
            part = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
            for name, said in words.items():
                said.append(part.get(name) if isinstance(part, dict) else None)
            logprobs = choice.get("logprobs")
            more = logprobs.get("content") if isinstance(logprobs, dict) else logprobs
            tokens += more if isinstance(more, list) else []
    if ended is None:
        raise NoReply("the stream of the reply broke off", billed=True)
    whole = {"message": words, "finish_reason": ended, "logprobs": {"content": tokens}}
    return {"choices": [whole] if any_choice else [], "usage": usage}


def _events(text: str) -> Iterator[tuple[str, str]]:
    """The name of each event, where it has one, and its data."""
    event, lines = "", list[str]()
    for line in [*re.split(r"\r\n|\n|\r", text), ""]:
        name, _, value = line.partition(":")
        if name == "data":
            lines.append(value.removeprefix(" "))
        elif name == "event":
            event = value.strip().lower()
        elif not line:
            if lines:
                yield event, "\n".join(lines)
            event, lines = "", []
