"""Questions to an OpenAI-compatible server, asked again when something goes wrong on the way."""

import math
import os
import random
import threading
import time
from typing import Any

from kcm_lightning.errors import InputError
from kcm_lightning.large.answer_store import Reply

LONGEST_PAUSE = 30.0  # seconds


class NoReply(Exception):
    """A request came to nothing, and another one may not.

    Args:
        reason: what happened.
        pause: seconds that the server asks to wait; None where it does not say.
    """

    def __init__(self, reason: str, pause: float | None = None):
        super().__init__(reason)
        self.pause = pause


class ChatClient:
    """The official client, one request at a time; nothing is sent before the first question.

    Args:
        model: its name at the server.
        base_url: of the server; null is OpenAI's.
        api_key_env: environment variable that holds the key. A server of one's own may need none.
        max_tokens: of a reply.
        timeout: of a request, seconds.
        extra: further fields of the request's body.
    """

    def __init__(
        self, model: str, base_url: str | None, api_key_env: str, max_tokens: int, timeout: float, extra: dict[str, Any]
    ):
        self.model, self.base_url, self.api_key_env = model, base_url, api_key_env
        self.max_tokens, self.timeout, self.extra = max_tokens, timeout, extra
        self.logprobs = True
        self._client = None
        self._starting = threading.Lock()

    def ask(self, messages: list[dict[str, str]]) -> Reply:
        """Sends one request.

        Raises:
            NoReply: it came to nothing, but could have come to something.
            InputError: no request like it will be answered.
        """
        import openai

        client = self._started()
        asked = {"logprobs": True} if self.logprobs else {}
        length = {} if "max_completion_tokens" in self.extra else {"max_tokens": self.max_tokens}
        try:
            answer = client.chat.completions.create(model=self.model, messages=messages, **length, **asked, extra_body=self.extra)
            return _reply(answer)
        except (openai.RateLimitError, openai.InternalServerError, openai.ConflictError) as error:
            raise NoReply(self._said(error), _pause(error.response)) from None
        except openai.APIStatusError as error:
            if error.status_code == 408:
                raise NoReply(self._said(error)) from None
            if asked and error.status_code in (400, 422) and "logprob" in str(error).lower():
                self.logprobs = False  # this server does not give them; the next request does not ask
                raise NoReply("the server gives no log-probabilities", 0.0) from None
            raise InputError(self._refusal(error)) from None
        except (openai.APIConnectionError, openai.APIResponseValidationError, ValueError, AttributeError, TypeError) as error:
            raise NoReply(self._said(error)) from None

    def _started(self):
        with self._starting:
            if self._client is None:
                import openai

                key = os.environ.get(self.api_key_env)
                if not key and self.base_url is None:
                    raise InputError(
                        f"the environment variable {self.api_key_env} holds no key: set it, or name a server of your own "
                        "with --model.teacher.base_url"
                    )
                self._client = openai.OpenAI(api_key=key or "none", base_url=self.base_url, timeout=self.timeout, max_retries=0)
                self._check_model()
            return self._client

    def _check_model(self) -> None:
        """Refuses a server that is not there and a model that it does not list; one without a list is believed."""
        import openai

        try:
            names = [model.id for model in self._client.with_options(max_retries=2).models.list()]
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise InputError(self._refusal(error)) from None
        except openai.APIConnectionError as error:
            where = self.base_url or "the default server"
            raise InputError(f"{where} cannot be reached: {self._said(error)} Check --model.teacher.base_url") from None
        except (openai.APIError, ValueError, AttributeError, TypeError):
            return
        if names and self.model not in names:
            shown = ", ".join(sorted(names)[:10])
            raise InputError(f"--model.teacher.model: the server does not know {self.model!r}; it has {shown}")

    def _refusal(self, error) -> str:
        where = self.base_url or "the default server"
        hint = {401: f": check the key in {self.api_key_env}", 403: f": check the key in {self.api_key_env}"}
        hint |= {404: ": check --model.teacher.base_url and --model.teacher.model"}
        return f"{where} refuses the request: {self._said(error)}{hint.get(error.status_code, '')}"

    def _said(self, error: Exception) -> str:
        """What went wrong, in one line and without the key."""
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        key = os.environ.get(self.api_key_env)
        return text.replace(key, "***") if key else text


def pause_before(attempt: int, asked_for: float | None) -> None:
    """Waits before a further attempt: as long as the server asks for, else ever longer, with some chance in it."""
    seconds = 0.5 * 2**attempt * random.uniform(0.5, 1.0) if asked_for is None else asked_for
    time.sleep(min(seconds, LONGEST_PAUSE))


def _pause(response) -> float | None:
    try:
        return max(0.0, float(response.headers.get("retry-after")))
    except (TypeError, ValueError):  # not given, or a date
        return None


def _reply(answer) -> Reply:
    choice = answer.choices[0]
    content = choice.message.content
    if not isinstance(content, str):
        raise ValueError("the reply has no content")
    usage = answer.usage
    tokens = (usage.prompt_tokens or 0, usage.completion_tokens or 0) if usage else (0, 0)
    steps = choice.logprobs.content if choice.logprobs and choice.logprobs.content else []
    said = [step.logprob for step in steps if step.token and step.token in content]  # without the end of text
    probability = min(1.0, math.exp(sum(said))) if said else None
    return Reply(content, probability, *tokens)
