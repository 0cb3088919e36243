"""Any chat model behind an OpenAI-compatible server as the large model."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.errors import InputError
from kcm_lightning.large.answer_store import AnswerStore, Reply, UnderWay
from kcm_lightning.large.base import LargeModel, spread
from kcm_lightning.large.budget import Budget, BudgetSpent, Cost, Prices
from kcm_lightning.large.chat_client import ChatClient, NoReply, Refused, pause_before
from kcm_lightning.prompts import BINS, check_template, state

_GLANCE = 0.05  # seconds between looks at what another process is asking
_REFUSALS = 16  # questions in a row, before any was answered, after which it is not the questions


class Chat(LargeModel):
    """A chat model that is asked for one of the classes' names: OpenAI's, vLLM, llama.cpp, `transformers serve`, ...

    Its confidence is the probability of the words it said, where the server gives log-probabilities, else
    `confidence_without_logprobs`. A reply that is no class name, also after `format_retries` further requests, is counted,
    and the sample is answered by the student. Every reply is stored before it is used; nothing stored is asked again.

    Args:
        model: its name at the server.
        base_url: of the server, up to and with `/v1`; null is OpenAI's.
        api_key_env: environment variable that holds the key, which is written nowhere.
        system: what the model is told to be.
        prompt: the question, a template with `{text}`, which may name the classes by `{labels}`.
        hint: equation 2, a sentence put before the question, with `{label}` and `{probability}` of the small model (in
            steps of a tenth); null leaves it out.
        confidence_without_logprobs: fraction in [0, 1], for servers without log-probabilities.
        max_tokens: of a reply.
        extra: further fields of a request, for instance `temperature`.
        concurrency: requests under way at once.
        retries: further requests when one comes to nothing (429, 5xx, timeout, broken off, no JSON), with growing pauses.
        format_retries: further requests when a reply is no class name.
        timeout: of a request, seconds.
        prices: of tokens.
        budget: of everything, over the life of `answers`.
        fit_budget: of what `fit` asks for equation 4; by default nothing is bought.
        answers: SQLite file of the replies.
    """

    paid = True

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
        extra: dict[str, Any] | None = None,
        concurrency: int = 8,
        retries: int = 6,
        format_retries: int = 1,
        timeout: float = 60.0,
        prices: Prices = Prices(),
        budget: Budget = Budget(),
        fit_budget: Budget = Budget(calls=0),
        answers: str = "runs/chat_answers.sqlite",
    ):
        check_template(prompt, ("text",), "--model.teacher.prompt", optional=("labels",))
        if hint is not None:
            check_template(hint, (), "--model.teacher.hint")
        for limits in (budget, fit_budget):
            if limits.money and not (prices.input or prices.output):
                raise InputError("--model.teacher: a budget of money needs --model.teacher.prices")
        if not 0 <= confidence_without_logprobs <= 1:
            raise InputError(f"--model.teacher.confidence_without_logprobs={confidence_without_logprobs} is outside [0, 1]")
        if concurrency < 1 or retries < 0 or format_retries < 0 or timeout <= 0:
            raise InputError("--model.teacher: concurrency must be at least 1, retries at least 0, timeout above 0")
        if base_url is not None and "@" in base_url:
            raise InputError("--model.teacher.base_url must hold no password: put the key into the environment")
        self.client = ChatClient(model, base_url, api_key_env, max_tokens, timeout, extra or {})
        self.system, self.prompt, self.hint, self.uses_hint = system, prompt, hint, hint is not None
        self.confidence_without_logprobs = confidence_without_logprobs
        self.concurrency, self.retries, self.format_retries = concurrency, retries, format_retries
        self.prices, self.budget, self.fit_budget, self.answers = prices, budget, fit_budget, answers
        self.counts, self._counting = Counter(), threading.Lock()
        self._off_format: set[str] = set()
        self._answered, self._refusals = False, 0
        self.store: AnswerStore | None = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        self.class_names, self.device = class_names, device
        self._words = [_plain(name) for name in class_names]
        if self.store is None:
            self.store = AnswerStore(self.answers)
            self._answered = self.store.answers(self._model)
            if self.store.cut_off:
                print(f"{self.store.cut_off} requests were under way when an earlier command stopped; they are sent again")
                self._count("under_way_at_an_earlier_stop", self.store.cut_off)

    def check_before_fit(self) -> None:
        """Looks at key, server and model where `fit` may ask."""
        if not self.fit_budget.grants_nothing_of():
            self.client.start()

    @property
    def identity(self) -> str:
        return f"Chat {self.client.base_url} {self.client.model}"

    def cached(self, folder: str, dataset: str) -> LargeModel:
        return self  # it keeps its own answers

    def usage(self) -> dict:
        """Requests, tokens and money over the life of `answers`, and this process's counts."""
        counts = dict(self.counts) | {"off_format": len(self._off_format)}
        return {**vars(self.store.spent()), "this_command": counts, "concurrency": self.concurrency}

    def distribution(self, inputs: Sequence[str], hint: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        """The named class's probability, the rest evenly over the others; NaN for a reply that names none."""
        replies, limit = self._ask_all(inputs, hint, "inference", [(None, self.budget)])
        if limit:
            missing = sum(reply is None for reply in replies)
            raise InputError(
                f"the budget of {getattr(self.budget, limit)} {limit} is spent with {missing} of this batch unanswered; what was "
                f"answered is kept: raise --model.teacher.budget.{limit} and run the same command again"
            )
        return self._distributions(replies)

    def teach(self, inputs: Sequence[str], hint: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        """As `distribution`, but NaN too for what is not stored and not within `fit_budget`."""
        replies, _ = self._ask_all(inputs, hint, "fit", [(None, self.budget), ("fit", self.fit_budget)])
        return self._distributions(replies)

    def _distributions(self, replies: list[Reply | None]) -> Tensor:
        labels = [-1 if reply is None else self._label(reply) for reply in replies]
        constant = self.confidence_without_logprobs
        confidences = [constant if reply is None or reply.probability is None else reply.probability for reply in replies]
        return spread(torch.tensor(labels), torch.tensor(confidences), len(self._words)).to(self.device)

    def _label(self, reply: Reply) -> int:
        """The class that a reply names and nothing else, but for case, quotes and a full stop; -1 for none."""
        word = _plain(reply.content)
        return self._words.index(word) if word in self._words else -1

    def _ask_all(self, inputs, hint, purpose: str, budgets: list) -> tuple[list[Reply | None], str | None]:
        """Replies in the order of the inputs, and the limit that stopped the asking."""
        own = [None] * len(inputs) if hint is None else hint.cpu()
        questions = [self._messages(text, row) for text, row in zip(inputs, own, strict=True)]
        keys = [self._key(messages) for messages in questions]
        stored = self.store.read(keys)
        found = {key: reply for key, (reply, attempts) in stored.items() if self._settled(reply, attempts)}
        missing = {key: messages for key, messages in zip(keys, questions, strict=True) if key not in found}
        self._count("from_store", len(keys) - len(missing))
        limit = next((name for _, budget in budgets if (name := budget.grants_nothing_of())), None) if missing else None
        if missing and limit is None:
            self.client.start()
            pool = ThreadPoolExecutor(self.concurrency)
            try:
                asked = {
                    key: pool.submit(self._ask, key, messages, purpose, budgets, stored.get(key))
                    for key, messages in missing.items()
                }
                wait(asked.values(), return_when=FIRST_EXCEPTION)
            finally:  # also at Ctrl-C: nothing more is sent, what is under way is waited for and stored
                pool.shutdown(cancel_futures=True)
            for key, future in asked.items():
                error = None if future.cancelled() else future.exception()
                if isinstance(error, BudgetSpent):
                    limit = str(error)
                elif error is not None:
                    raise error
                elif not future.cancelled():
                    found[key] = self._or_refused(key, future.result(), purpose)
        for key, (reply, _) in stored.items():
            found.setdefault(key, reply)  # off-format, and no budget to ask again
        self._off_format |= {key for key, reply in found.items() if self._label(reply) < 0}
        return [found.get(key) for key in keys], limit

    def _or_refused(self, key: str, reply: Reply | Refused, purpose: str) -> Reply:
        """A reply, or an empty one, stored, to a question that is refused where others were answered."""
        if isinstance(reply, Reply):
            return reply
        if not self._answered:
            raise InputError(str(reply))
        self.store.settle(key, purpose, Cost(), Reply("", None), self.format_retries + 1)
        self._count("refused")
        return Reply("", None)

    def _settled(self, reply: Reply, attempts: int) -> bool:
        return self._label(reply) >= 0 or attempts > self.format_retries

    def _ask(
        self, key: str, messages: list[dict], purpose: str, budgets: list, before: tuple[Reply, int] | None
    ) -> Reply | Refused:
        """One question, until it has a reply that can be used, which is stored, or is refused, or none will come."""
        reply, attempts = before or (None, 0)
        failures, most = 0, self._cost(Cost(0, *self.client.most_tokens(messages)))
        waited = 0.0  # for another process, which may have died on another machine
        while reply is None or not self._settled(reply, attempts):
            try:
                found = self.store.begin(key, purpose, most, budgets, attempts, wait=waited < 2 * self.client.timeout)
            except BudgetSpent:
                if reply is None:
                    raise
                return reply
            except UnderWay:
                time.sleep(_GLANCE)
                waited += _GLANCE
                continue
            waited = 0.0
            if found is not None:
                reply, attempts = found
                self._count("from_store")
                continue
            self._count("requests")
            try:
                reply, cost = self.client.ask(messages)
                attempts += 1
                self.store.settle(key, purpose, most if cost is None else self._cost(cost), reply, attempts)
                if cost is None:
                    self._count("replies_counted_at_the_most_they_can_cost")
                if not self._answered:
                    self.store.note_that_it_answers(self._model)
                    self._answered = True
            except NoReply as error:
                self.store.settle(key, purpose, most if error.billed else Cost())
                self._count("failed_requests")
                failures += error.counts
                if failures > self.retries:
                    where = "" if self._answered else "; is --model.teacher.base_url right?"
                    raise InputError(
                        f"{self.client.base_url} gave no answer in {failures} requests, at last {error}{where} What was answered "
                        "is kept: run the same command again"
                    ) from None
                pause_before(failures - 1, error.pause)
            except Refused as error:
                self.store.settle(key, purpose, Cost())
                self._refusals += 1
                if self._refusals >= _REFUSALS and not self._answered:
                    raise InputError(str(error)) from None
                return error  # what it means, the other questions will show
            except InputError:
                self.store.settle(key, purpose, Cost())
                raise
            except BaseException:
                self.store.settle(key, purpose, most)
                raise
        return reply

    def _cost(self, cost: Cost) -> Cost:
        return Cost(0, cost.tokens_in, cost.tokens_out, self.prices.of(cost))

    def _count(self, what: str, times: int = 1) -> None:
        with self._counting:
            self.counts[what] += times

    def _messages(self, text: str, hint: Tensor | None) -> list[dict[str, str]]:
        question = self.prompt.format(text=text, labels=" or ".join(self.class_names))
        if self.hint is not None and hint is not None:
            question = f"{state(self.hint, self.class_names, hint, BINS)}\n\n{question}"
        return [{"role": "system", "content": self.system}, {"role": "user", "content": question}]

    @property
    def _model(self) -> str:
        return self._digest([])

    def _key(self, messages: list[dict[str, str]]) -> str:
        return self._digest([messages])

    def _digest(self, question: list) -> str:
        asked = [self.client.base_url, self.client.model, self.client.max_tokens, self.client.extra, *question]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _plain(word: str) -> str:
    return word.replace("_", " ").strip().strip("\"'.*` ").lower()
