"""Questions to an OpenAI-compatible server, one request at a time."""

import asyncio
import os
import re
from collections.abc import Callable
from typing import Any

from kcm_lightning.large.budget import Cost
from kcm_lightning.large.chat_errors import Meaning, NoReply, Refused, ServerError, meaning_of
from kcm_lightning.large.chat_fields import RequestFields
from kcm_lightning.large.chat_messages import Messages, most_tokens, texts_of
from kcm_lightning.large.chat_reply import ChatReply, read_reply
from kcm_lightning.large.http_client import HttpClient, HttpReply, NoHttpReply
from kcm_lightning.large.reply_json import read_json
from kcm_lightning.large.reply_probability import beginnings, probability_of
from kcm_lightning.large.reply_store import Reply
from kcm_lightning.large.server_url import server_url
from kcm_lightning.utils.errors import InputError

OPENAI = "https://api.openai.com/v1"
_REPEATED = 8  # letters of a question at least that are looked for in the words of a server
_NAME = 80  # letters of a model's name that are shown
_LOOKING = 10.0  # seconds that a look at the server's list of models may take


class ChatClient:
    """One model at one server; nothing is sent before the first question.

    Args:
        model: its name at the server.
        base_url: address of the server; None is OpenAI's.
        api_key_env: environment variable that holds the key. Your own server may need none.
        max_tokens: length of a reply at most, in tokens.
        timeout: seconds that a request may take.
        image_size: longest side of the images in questions, in pixels.
        extra: further fields of the request's body.
        answer_in: where in the words of a reply, which may be cut off, its answer stands.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None,
        api_key_env: str,
        max_tokens: int,
        timeout: float,
        image_size: int,
        extra: dict[str, Any],
        answer_in: Callable[[str, bool], tuple[int, int]],
    ):
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", api_key_env):
            raise InputError(
                "--model.teacher.api_key_env is the name of an environment variable, not the key"
            )
        self.model, self.api_key_env, self.given_url = model, api_key_env, base_url or OPENAI
        self.base_url = server_url(self.given_url)
        self.max_tokens, self.timeout, self.image_size = max_tokens, timeout, image_size
        self.extra, self.answer_in = extra, answer_in
        self.fields = RequestFields(model, max_tokens, extra)
        self.answered = False
        self._http: HttpClient | None = None
        self._models: list[str] = []
        self._failure: InputError | None = None
        self._starting = asyncio.Lock()
        self._told: set[str] = set()

    def most_tokens(self, messages: Messages) -> tuple[int, int]:
        """The most tokens that a question and its reply can have."""
        sent = most_tokens(messages, self.image_size)
        limits = [
            self.max_tokens,
            *(self.extra.get(name, 0) for name in ("max_tokens", "max_completion_tokens")),
        ]
        return sent, max(limits) * self.extra.get("n", 1)

    async def ask(self, messages: Messages) -> tuple[Reply, Cost | None]:
        """Sends one request.

        Returns:
            The reply, and its tokens where the server counts them.

        Raises:
            NoReply: it came to nothing, but could have come to something.
            Refused: the server does not take this question.
            InputError: no request like it will be answered.
        """
        http, sent = await self.start(), self.fields.body(messages)
        try:
            reply = await http.send("POST", "chat/completions", sent)
            said = read_reply(reply, self.most_tokens(messages))
        except NoHttpReply as error:
            raise NoReply(self._said(error), billed=error.sent) from None
        except NoReply as error:
            raise NoReply(self._said(error), billed=error.billed, cost=error.cost) from None
        except ServerError as error:
            raise self._meant(error, sent, messages) from None
        if said.refusal is not None:
            self.answered = True  # it was asked, and said no
            reason = f"the model refuses the question: {self._said(said.refusal)}"
            raise Refused(reason, of_the_question=True, cost=said.cost)
        self.answered = True
        return self._as_reply(said), said.cost

    def _as_reply(self, said: ChatReply) -> Reply:
        answer = said.content, said.steps, *self.answer_in(said.content, said.cut)
        return Reply(said.content, probability_of(*answer), cut=said.cut, others=beginnings(*answer))

    def _meant(self, error: ServerError, sent: dict[str, Any], messages: Messages) -> Exception:
        """What is to be done about a server's error, as the exception that says so."""
        words = error.message
        for message in messages:  # which servers repeat
            for text in texts_of(message):
                for part in (text, *text.splitlines()):
                    words = without(words, part, 20) if len(part) >= _REPEATED else words
        bare = ServerError(error.status, words, error.codes, error.field, error.pause, error.page)
        meaning = meaning_of(bare)
        of_the_question = meaning is Meaning.QUESTION and error.field not in sent
        change = None if of_the_question else self.fields.adapt(bare, sent)
        if change:
            self._tell(f"{self.base_url} is asked {change} from now on: it says {self._said(error)}")
            return NoReply(f"asked again {change}", pause=0.0, counts=False)
        if error.page and error.status < 300 and not self.answered:
            return InputError(
                f"{self.base_url} answers with {self._said(error)}: is --model.teacher.base_url right?"
            )
        if meaning is Meaning.LATER:
            return NoReply(f"{error.status}: {self._said(error)}", pause=error.pause)
        if meaning is Meaning.STOP:
            return InputError(self._refusal(error))
        reason = f"{self.base_url} refuses the request ({error.status}): {self._said(error)}"
        return Refused(reason, of_the_question=meaning is Meaning.QUESTION)

    def _refusal(self, error: ServerError) -> str:
        """Why nothing more will be answered, and what to look at."""
        if error.status == 401:
            return (
                f"{self.base_url} refuses the key (401): check the key in {self.api_key_env}; it says "
                f"{self._said(error)}"
            )
        hint = ""
        if error.status == 403:
            hint = f": check the key in {self.api_key_env} and what its account may use"
        elif error.status == 404 or "model" in error.message.lower():
            hint = ": check --model.teacher.base_url and --model.teacher.model"
            if self._models and not _near_names(self.model, self._models):
                shown = ", ".join(self._said(name[:_NAME]) for name in sorted(self._models)[:10])
                hint += f"; the server does not know {self.model!r}; it has {shown}"
        return f"{self.base_url} refuses the request ({error.status}): {self._said(error)}{hint}"

    async def start(self) -> HttpClient:
        """The HTTP client, once key and server have been looked at.

        Raises:
            InputError: there is no key, the server refuses it, or it cannot be reached.
        """
        async with self._starting:
            if self._failure is not None:
                raise self._failure
            if self._http is None:
                try:
                    self._http = await self._made()
                except InputError as error:
                    self._failure = error
                    raise
            return self._http

    async def _made(self) -> HttpClient:
        key = self._key()
        if not key and self.base_url == OPENAI:
            raise InputError(
                f"the environment variable {self.api_key_env} holds no key: set it, or name a server of your "
                "own with --model.teacher.base_url"
            )
        if not (key.isascii() and key.isprintable()):
            raise InputError(
                f"the key in {self.api_key_env} has characters that no key has: was it copied whole?"
            )
        http = HttpClient(self.base_url, key or "none", self.timeout)
        reason = ""
        for pause in (0.0, 0.5, 1.0):
            await asyncio.sleep(pause)
            try:
                reply = await http.send("GET", "models", timeout=min(self.timeout, _LOOKING))
            except InputError:  # the list is elsewhere
                return http
            except NoHttpReply as error:
                if error.sent:  # it is there, and may answer questions all the same
                    return http
                reason = self._said(error)
                continue
            if reply.status == 401:  # some keys may ask and not look
                self._tell(
                    f"{self.base_url} does not show its models to the key in {self.api_key_env} (401); it is "
                    "asked all the same"
                )
            self._models = _names_in_list(reply)
            return http
        proxy = " and that proxy" if "the proxy that" in reason else ""
        raise InputError(
            f"{self.base_url} cannot be reached: {reason}: check --model.teacher.base_url{proxy}"
        )

    def _key(self) -> str:
        return os.environ.get(self.api_key_env, "").strip()

    def _said(self, error: Exception | str) -> str:
        """What went wrong, in one line, without the key and without codes that terminals obey."""
        line = "".join(one if one.isprintable() else " " for one in str(error)[:2000])
        return without(" ".join(line.split()), self._key(), 6)[:300]

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            print(line)


def _names_in_list(reply: HttpReply) -> list[str]:
    """The models that a server lists; none where it has no list.

    Args:
        reply: to the question for its list.
    """
    try:
        body = read_json(reply.body.decode("utf-8", "replace")) if reply.status == 200 else {}
    except NoReply:
        return []
    rows = body.get("data") if isinstance(body, dict) else body
    rows = rows if isinstance(rows, list) else []
    return [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]


def _near_names(model: str, names: list[str]) -> list[str]:
    """Names of a list that may stand for a model: itself, `*`, or one with another provider before it.

    Args:
        model: the model's name.
        names: those of the list.
    """
    last = model.rpartition("/")[2]
    return [name for name in names if "*" in name or name.rpartition("/")[2] == last]


def without(text: str, secret: str, least: int) -> str:
    """A text with stars in place of what also stands in another one.

    Args:
        text: the text.
        secret: the other one.
        least: how many letters in a row must be the same; a shorter secret is looked for as a whole.

    >>> without("you sent Bearer sk-ab****wxyz-12", "sk-abcdefghijklmnopqrstuvwxyz-12", 5)
    'you sent Bearer ********'
    """
    least = min(least, len(secret))
    if not least:
        return text
    hidden = [False] * len(text)
    for start in range(len(text) - least + 1):
        if text[start : start + least] in secret:
            hidden[start : start + least] = [True] * least
    parts = [letter if not hide else "\0" for letter, hide in zip(text, hidden, strict=True)]
    return re.sub("\0+", "***", "".join(parts))
