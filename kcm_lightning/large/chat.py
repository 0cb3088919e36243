"""Any chat model behind an OpenAI-compatible server as the large model.

The way of a question: `Chat` puts it into words; `chat_requests.py` looks for it in the store; what is
not there `asking.py` sends, within budgets and until a signal, to a server of which `chat_state.py` keeps
what is known, by `chat_client.py` (one request) and `http_client.py` (its bytes). `chat_reply.py` reads what
comes back, `reply_marks.py` the marks in it, `chat_errors.py` and its words say what an error means,
`outcomes.py` when to stop, `reply_to_class.py` which class a reply names, and `reply_probability.py` how
surely.
"""

import hashlib
import json
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from kcm_lightning.core.predictions import Purpose, Query
from kcm_lightning.core.prompts import BINS, check_template, fill_hint
from kcm_lightning.large.base import Kind, LargeClassifier
from kcm_lightning.large.budget import Budget, Prices
from kcm_lightning.large.chat_client import ChatClient
from kcm_lightning.large.chat_messages import Messages, with_image
from kcm_lightning.large.chat_requests import ChatRequests
from kcm_lightning.large.chat_state import Server
from kcm_lightning.large.event_loop import run_in_loop
from kcm_lightning.large.owners import LONGEST
from kcm_lightning.large.reply_distribution import with_others
from kcm_lightning.large.reply_store import Limit, Reply, ReplyStore
from kcm_lightning.large.reply_to_class import named_class
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.extras import require
from kcm_lightning.utils.ranges import check_number


class Chat(LargeClassifier):
    """A chat model that is asked for the name of a class: OpenAI's, vLLM, llama.cpp, `transformers serve`.

    A reply names the class that is its last line with the name of one; what stands in `<think>...</think>` is
    taken out, and case, punctuation and markup around the name do not count. Of a reply cut off, only
    the very last line counts. The confidence is the probability of that line's words, where the server gives
    log-probabilities, else `confidence_without_logprobs`. A reply that names no class, also after
    `format_retries` further requests, is counted, and the student answers the sample; so is a question that
    the server refuses as too long or for its contents. Every other error stops the command. Every reply is
    stored before it is used; nothing stored is asked again.

    Args:
        model: the model's name at the server.
        base_url: address of the server, up to and with `/v1`; null, the default, is OpenAI's. The texts are
            sent to no other host.
        api_key_env: name of the environment variable that holds the key; the key itself is written nowhere.
        system: system message: what the model is told to be.
        prompt: the question, a template with `{text}`, which may name the classes by `{labels}`. About images
            it has no `{text}`: they are sent after it.
        hint: equation 2, a sentence put before the question, with `{label}` and `{probability}` of the small
            model (in steps of a tenth); null, the default, leaves it out.
        confidence_without_logprobs: confidence of every answer where the server gives no log-probabilities, a
            fraction in [0, 1].
        max_tokens: length of a reply at most, in tokens, 8 by default; a model that reasons needs far more.
        image_size: longest side in pixels of the images that are sent; larger ones are made smaller.
        extra: further fields of a request's body, for instance `temperature`; none by default. With
            `top_logprobs` (20 is OpenAI's most) the other classes have the probabilities that it says.
        concurrency: requests under way at once.
        retries: further requests when one fails (429, 5xx, timeout, broken off, no JSON), with growing
            pauses.
        format_retries: further requests when a reply names no class.
        retry_refused: whether to ask again what the server refused in an earlier command; false by default.
        strict: whether a reply must be the name of a class and nothing else, but for case, punctuation and
            markup; false by default.
        timeout: seconds that a request may take in all, from connecting to the last byte of its reply.
        prices: what a million tokens cost, and in which currency; needed for a budget of money; 0 by default.
        budget: hard limit of everything that is asked, over the life of the `answers` file; by default there
            is none.
        fit_budget: hard limit of what `fit` asks for equation 4; by default nothing is bought.
        answers: SQLite file in which the replies are kept.
    """

    paid = True
    keeps_own_answers = True

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        system: str = "You judge texts and answer with one word.",
        prompt: str = "Is this text {labels}? Answer with one word.\n\n{text}",
        hint: str | None = None,
        confidence_without_logprobs: float = 0.9,
        max_tokens: int = 8,
        image_size: int = 768,
        extra: dict[str, Any] | None = None,
        concurrency: int = 8,
        retries: int = 6,
        format_retries: int = 1,
        retry_refused: bool = False,
        strict: bool = False,
        timeout: float = 60.0,
        prices: Prices = Prices(),
        budget: Budget = Budget(),
        fit_budget: Budget = Budget(calls=0),
        answers: str = "runs/chat_answers.sqlite",
    ):
        require("openai", extra="chat", what="a chat model")
        check_template(prompt, (), "--model.teacher.prompt", optional=("text", "labels"))
        if hint is not None:
            check_template(hint, (), "--model.teacher.hint")
        for limits in (budget, fit_budget):
            if limits.money and not (prices.input or prices.output):
                raise InputError("--model.teacher: a budget of money needs --model.teacher.prices")
        check_number("--model.teacher.confidence_without_logprobs", confidence_without_logprobs, 0, 1)
        check_number("--model.teacher.timeout", timeout, 0.001, LONGEST)
        _check_counts(image_size=image_size, concurrency=concurrency)
        _check_counts(0, retries=retries, format_retries=format_retries)
        _check_lengths(max_tokens, extra or {})
        self.client = ChatClient(
            model=model,
            base_url=base_url,
            api_key_env=api_key_env,
            max_tokens=max_tokens,
            timeout=timeout,
            image_size=image_size,
            extra=extra or {},
            answer_in=lambda content, cut: named_class(content, self.class_names, self.strict, cut)[1:],
        )
        self.system, self.prompt, self.hint, self.uses_hint = system, prompt, hint, hint is not None
        self.strict, self.confidence_without_logprobs = strict, confidence_without_logprobs
        self.budget, self.fit_budget, self.answers = budget, fit_budget, answers
        server = Server(
            client=self.client,
            prices=prices,
            names_a_class=lambda reply: self.class_of(reply) >= 0,
            concurrency=concurrency,
            retries=retries,
            format_retries=format_retries,
        )
        self.requests = ChatRequests(server, retry_refused=retry_refused)
        self.class_names: list[str] = []
        self.device = torch.device("cpu")

    def load(self, class_names: list[str], device: torch.device) -> None:
        self.class_names, self.device = class_names, device
        known = self.client.extra.get("top_logprobs")
        if known is not None and known < len(class_names) - 1:
            rank_zero_warn(
                f"top_logprobs={known} tells of {known} of the {len(class_names)} classes at most: the "
                "others share what is left over"
            )
        self.requests.open(lambda: ReplyStore(self.answers))

    def check_before_fit(self) -> None:
        """Looks at key, server and model where `fit` may ask."""
        if not self.fit_budget.grants_nothing_of():
            run_in_loop(self.client.start())

    @property
    def reads(self) -> Kind:  # type: ignore[override]  # as its prompt says
        return "texts" if "{text}" in self.prompt else "images"

    @property
    def identity(self) -> str:
        asked = [self.system, self.prompt, self.hint, self.client.max_tokens, self.client.extra]
        read = [self.strict, self.confidence_without_logprobs]
        digest = hashlib.sha256(json.dumps([asked, read], sort_keys=True).encode()).hexdigest()[:16]
        return f"Chat {self.client.base_url} {self.client.model} {digest}"

    def usage(self) -> dict:
        """Requests, tokens and money over the life of `answers`, and this process's counts."""
        return self.requests.usage()

    def distribution(self, query: Query) -> Tensor:
        """The named class's probability, the rest evenly over the others; NaN for a reply that names none.

        To teach (`Purpose.FIT`), NaN too for what is not stored and not within `fit_budget`.

        Raises:
            InputError: the budget is spent before every sample has an answer, and the query is not to teach.
        """
        limits = [Limit(self.budget)]
        if query.purpose is Purpose.FIT:
            limits.append(Limit(self.fit_budget, purpose="fit"))
        hints = [None] * len(query) if query.hint is None else query.hint.cpu()
        questions = [self.messages(text, hint) for text, hint in zip(query.inputs, hints, strict=True)]
        replies, limit = self.requests.ask_all(questions, purpose=str(query.purpose), limits=limits)
        if limit and query.purpose is Purpose.INFERENCE:
            missing = sum(reply is None for reply in replies)
            spent = f"the budget of {getattr(self.budget, limit)} {limit} is spent"
            raise InputError(
                f"{spent} with {missing} of this batch unanswered; what was answered is kept: raise "
                f"--model.teacher.budget.{limit} and run the same command again"
            )
        self.latest_costs = [0.0 if reply is None else reply.money or 0.0 for reply in replies]
        labels = [-1 if reply is None else self.class_of(reply) for reply in replies]
        confidences = [self._confidence_in(reply) for reply in replies]
        others = [None if reply is None else reply.others for reply in replies]
        found = with_others(torch.tensor(labels), torch.tensor(confidences), others, self.class_names)
        return found.to(self.device)

    def class_of(self, reply: Reply) -> int:
        """The class that a reply names; -1 for none."""
        if reply.refused:
            return -1
        return named_class(reply.content, self.class_names, self.strict, reply.cut).label

    def _confidence_in(self, reply: Reply | None) -> float:
        probability = None if reply is None else reply.probability
        return self.confidence_without_logprobs if probability is None else probability

    def messages(self, asked: Any, hint: Tensor | None) -> Messages:
        """The messages of a request.

        Args:
            asked: a text; or an image, by its path or uint8 of shape `(3, H, W)`.
            hint: the small model's probabilities, shape `(V,)`; None for none.
        """
        question = self.prompt.format(text=asked, labels=" or ".join(self.class_names))
        if self.hint is not None and hint is not None:
            question = f"{fill_hint(self.hint, self.class_names, hint, BINS)}\n\n{question}"
        is_text = isinstance(asked, str)
        content = question if is_text else with_image(question, asked, self.client.image_size)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": content}]


def _check_counts(least: int = 1, **counts: int) -> None:
    for name, count in counts.items():
        check_number(f"--model.teacher.{name}", count, least)


def _check_lengths(max_tokens: int, extra: dict[str, Any]) -> None:
    """Refuses lengths of replies from which the most that a reply can cost cannot be told."""
    for name in ("max_tokens", "max_completion_tokens", "n"):
        value = extra.get(name, max_tokens)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"--model.teacher: {name} must be a whole number above 0, not {value!r}")
