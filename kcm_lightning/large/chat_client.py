"""Questions to an OpenAI-compatible server, one request at a time."""

import math
import os
import random
import re
import threading
import time
from typing import Any

from kcm_lightning.large.budget import Cost
from kcm_lightning.large.reply_store import Reply
from kcm_lightning.utils.errors import InputError

OPENAI = "https://api.openai.com/v1"
LONGEST_PAUSE = 30.0  # seconds
_SPECIAL = re.compile(r"<\|[^|>]*\|>|</?s>")


class NoReply(Exception):
    """A request came to nothing, and another one may not.

    Args:
        reason: what happened.
        pause: seconds that the server asks to wait for; None where it does not say.
        billed: whether the server may have answered and counted it all the same.
        counts: whether it is one of the failures that end the asking.
    """

    def __init__(self, reason: str, pause: float | None = None, billed: bool = False, counts: bool = True):
        super().__init__(reason)
        self.pause, self.billed, self.counts = pause, billed, counts


class Refused(Exception):
    """The server refuses this very question, for instance as too long."""


class ChatClient:
    """The official client; nothing is sent before the first question.

    Args:
        model: its name at the server.
        base_url: address of the server; None is OpenAI's.
        api_key_env: environment variable that holds the key. Your own server may need none.
        max_tokens: length of a reply at most, in tokens.
        timeout: seconds that a request may take.
        extra: further fields of the request's body.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None,
        api_key_env: str,
        max_tokens: int,
        timeout: float,
        extra: dict[str, Any],
    ):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", api_key_env):
            raise InputError(
                "--model.teacher.api_key_env is the name of an environment variable, not the key"
            )
        self.model, self.base_url, self.api_key_env = model, base_url or OPENAI, api_key_env
        self.max_tokens, self.timeout, self.extra = max_tokens, timeout, extra
        self.logprobs = True
        self._client: Any = None
        self._failure: InputError | None = None
        self._starting = threading.Lock()

    def most_tokens(self, messages: list[dict[str, str]]) -> tuple[int, int]:
        """The most tokens that a question and its reply can have.

        A token has at least a byte, and a message some tokens around it.
        """
        sent = sum(len(message["content"].encode()) + 64 for message in messages)
        limits = [
            self.max_tokens,
            *(self.extra.get(name, 0) for name in ("max_tokens", "max_completion_tokens")),
        ]
        return sent, max(limits) * self.extra.get("n", 1)

    def ask(self, messages: list[dict[str, str]]) -> tuple[Reply, Cost | None]:
        """Sends one request.

        Returns:
            The reply, and its tokens where the server counts them.

        Raises:
            NoReply: it came to nothing, but could have come to something.
            Refused: the server does not take this question.
            InputError: no request like it will be answered.
        """
        import openai

        client = self.start()
        asked = {"logprobs": True} if self.logprobs else {}
        length = {} if "max_completion_tokens" in self.extra else {"max_tokens": self.max_tokens}
        try:
            answer = client.chat.completions.create(
                model=self.model, messages=messages, **length, **asked, extra_body=self.extra
            )
            return _reply(answer)
        except (openai.RateLimitError, openai.InternalServerError, openai.ConflictError) as error:
            raise NoReply(self._said(error), _pause(error.response)) from None
        except openai.APIStatusError as error:
            if error.status_code == 408:
                raise NoReply(self._said(error)) from None
            if asked and error.status_code in (400, 422) and "logprob" in str(error).lower():
                self.logprobs = False  # this server does not give them; the next request does not ask
                raise NoReply("the server gives no log-probabilities", 0.0, counts=False) from None
            if error.status_code in (400, 413, 422):
                raise Refused(self._refusal(error)) from None
            raise InputError(self._refusal(error)) from None
        except openai.APIConnectionError as error:
            sent = "Connect" not in type(error.__cause__).__name__  # else it never reached the server
            raise NoReply(self._said(error), billed=sent) from None
        except (
            openai.APIResponseValidationError,
            ValueError,
            AttributeError,
            TypeError,
            LookupError,
        ) as error:
            raise NoReply(self._said(error), billed=True) from None

    def start(self) -> Any:
        """The client, once key, server and model have been looked at.

        Raises:
            InputError: one of them is wrong.
        """
        with self._starting:
            if self._failure is not None:
                raise self._failure
            if self._client is None:
                try:
                    self._client = self._made()
                except InputError as error:
                    self._failure = error
                    raise
            return self._client

    def _made(self) -> Any:
        import openai

        key = self._key()
        if not key and self.base_url == OPENAI:
            raise InputError(
                f"the environment variable {self.api_key_env} holds no key: set it, or name a server of your "
                "own with --model.teacher.base_url"
            )
        if not key.isascii():
            raise InputError(
                f"the key in {self.api_key_env} has characters that no key has: was it copied whole?"
            )
        client = openai.OpenAI(
            api_key=key or "none", base_url=self.base_url, timeout=self.timeout, max_retries=0
        )
        try:
            patient = client.with_options(max_retries=2, timeout=min(self.timeout, 20))
            names = [model.id for model in patient.models.list()]
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise InputError(self._refusal(error)) from None
        except openai.APIConnectionError as error:
            raise InputError(
                f"{self.base_url} cannot be reached: {self._said(error)} Check --model.teacher.base_url"
            ) from None
        except (openai.APIError, ValueError, AttributeError, TypeError):
            return client  # a server without a list is believed
        if names and self.model not in names:
            shown = ", ".join(sorted(names)[:10])
            raise InputError(
                f"--model.teacher.model: the server does not know {self.model!r}; it has {shown}"
            )
        return client

    def _key(self) -> str:
        return os.environ.get(self.api_key_env, "").strip()

    def _refusal(self, error: Any) -> str:
        if error.status_code in (401, 403):  # servers repeat parts of the key
            return (
                f"{self.base_url} refuses the key ({error.status_code}): check the key in {self.api_key_env}"
            )
        hint = (
            ": check --model.teacher.base_url and --model.teacher.model" if error.status_code == 404 else ""
        )
        return f"{self.base_url} refuses the request: {self._said(error)}{hint}"

    def _said(self, error: Exception) -> str:
        """What went wrong, in one line and without the key."""
        text, key = " ".join(f"{type(error).__name__}: {error}".split()), self._key()
        return (text.replace(key, "***") if key else text)[:300]


def pause_before(attempt: int, asked_for: float | None) -> None:
    """Waits before a further attempt: as the server asks, else ever longer, by a random factor."""
    seconds = 0.5 * 2**attempt * random.uniform(0.5, 1.0) if asked_for is None else asked_for
    time.sleep(min(seconds, LONGEST_PAUSE))


def _pause(response: Any) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after")))
    except (TypeError, ValueError):  # not given, or a date
        return None


def _reply(answer: Any) -> tuple[Reply, Cost | None]:
    choice, usage = answer.choices[0], answer.usage
    content = _SPECIAL.sub("", choice.message.content or "")  # no content is a refusal
    counted = usage is not None and usage.prompt_tokens is not None and usage.completion_tokens is not None
    cost = Cost(0, usage.prompt_tokens, usage.completion_tokens) if counted else None
    steps = choice.logprobs.content if choice.logprobs and choice.logprobs.content else []
    return Reply(content, _probability(content, steps)), cost


def _probability(content: str, steps: list) -> float | None:
    """Of the words, from the tokens up to the end of the text; None where these are not the words."""
    kept = []
    for step in steps:
        if not step.token or _SPECIAL.fullmatch(step.token):
            break
        kept.append(step)
    said = "".join(step.token for step in kept).replace("▁", " ").replace("Ġ", " ")
    if not kept or said.strip() != content.strip():
        return None
    return min(1.0, math.exp(sum(step.logprob for step in kept)))
