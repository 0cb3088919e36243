"""The fields of a request, without those that the server does not take."""

import re
from typing import Any

from kcm_lightning.large.chat_errors import ServerError, says_too_long, says_unpaid
from kcm_lightning.large.chat_messages import Messages

# how the words are drawn: without one of these a question can be asked all the same
_OPTIONAL = (
    *("logprobs", "top_logprobs", "temperature", "top_p", "seed"),
    *("presence_penalty", "frequency_penalty", "stream_options"),
)
_TROUBLE = re.compile(
    r"support|not |n't|unknown|unrecogni|unexpected|extra (input|field)|deprecat|incompatible|invalid"
    r"|only the|disabled|forbidden|instead"
)
_STREAM = re.compile(r"\bstream(ing|ed)?\b.{0,60}(only|must|requir|enable|need|true|set)|only.{0,40}\bstream")
_OF_FIELDS = (200, 400, 403, 422)  # 200: an error object that came as if it were a reply


class RequestFields:
    """Makes requests, and remembers what the server does not take.

    Args:
        model: the model's name at the server.
        max_tokens: length of a reply at most, in tokens.
        extra: further fields, which beat the others.
    """

    def __init__(self, model: str, max_tokens: int, extra: dict[str, Any]):
        self.model, self.max_tokens, self.extra = model, max_tokens, extra
        self._left_out: set[str] = set()
        self._renamed = self._streamed = False

    def body(self, messages: Messages) -> dict[str, Any]:
        """A request about some messages."""
        body: dict[str, Any] = {"model": self.model, "messages": messages, "logprobs": True}
        if "max_completion_tokens" not in self.extra:
            body["max_tokens"] = self.max_tokens
        body |= self.extra
        if self._streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if self._renamed and "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
        return {name: value for name, value in body.items() if name not in self._left_out}

    def adapt(self, error: ServerError, sent: dict[str, Any]) -> str | None:
        """Makes further requests without what the server does not take.

        Args:
            error: the server's refusal of a request.
            sent: that request.

        Returns:
            What is asked otherwise from now on; None where the error is about no such field.
        """
        words = error.message.lower()
        of_fields = error.status in _OF_FIELDS or (error.status == 404 and "requested param" in words)
        if not of_fields or error.page or says_too_long(error) or says_unpaid(error):
            return None
        if not sent.get("stream") and _STREAM.search(words):
            self._streamed = True
            return "with `stream`"
        named = [name for name in sent if error.field == name or re.search(rf"\b{name}\b", words)]
        trouble = error.field in named or bool(_TROUBLE.search(words))
        if trouble and "max_tokens" in sent and ("max_tokens" in named or "max_completion_tokens" in words):
            self._renamed = True
            return "with `max_completion_tokens` in place of `max_tokens`"
        optional = [name for name in _OPTIONAL if name in named and (trouble or "logprob" in name)]
        if "logprobs" in sent and re.search(r"log.?prob", words):
            optional += [name for name in ("logprobs", "top_logprobs") if name in sent]
        if not optional and "requested param" in words:  # which ones it does not say
            optional = [name for name in _OPTIONAL if name in sent][:1]
        self._left_out |= set(optional)
        return f"without `{'`, `'.join(dict.fromkeys(optional))}`" if optional else None
