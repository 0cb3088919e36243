"""Any chat model behind an OpenAI-compatible server as the large model."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.errors import InputError
from kcm_lightning.large.answer_store import AnswerStore, Reply
from kcm_lightning.large.base import LargeModel, spread
from kcm_lightning.large.budget import Budget, BudgetSpent, Prices
from kcm_lightning.large.chat_client import ChatClient, NoReply, pause_before
from kcm_lightning.prompts import check_template, state

BINS = 11


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
        check_template(prompt.replace("{labels}", ""), ("text",), "--model.teacher.prompt")
        if hint is not None:
            check_template(hint, (), "--model.teacher.hint")
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
        self.store: AnswerStore | None = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        self.class_names, self.device = class_names, device
        if self.store is None:
            self.store = AnswerStore(self.answers, self.prices)
            if self.store.cut_off:
                print(f"{self.store.cut_off} requests were under way when an earlier command stopped; they are sent again")
                self._count("sent_again_after_a_stop", self.store.cut_off)

    @property
    def identity(self) -> str:
        return f"Chat {self.client.base_url} {self.client.model}"

    def cached(self, folder: str, dataset: str) -> LargeModel:
        return self  # it keeps its own answers

    def usage(self) -> dict:
        """Requests, tokens and money over the life of `answers`, and this process's counts."""
        return {**self.store.spent(), "this_command": dict(self.counts), "concurrency": self.concurrency}

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
        words = [name.lower() for name in self.class_names]
        labels, confidences = [], []
        for reply in replies:
            label = None if reply is None else _parse(reply.content, words)
            labels.append(-1 if label is None else label)
            known = reply is not None and reply.probability is not None
            confidences.append(reply.probability if known else self.confidence_without_logprobs)
        return spread(torch.tensor(labels), torch.tensor(confidences), len(words)).to(self.device)

    def _ask_all(self, inputs, hint, purpose: str, budgets: list) -> tuple[list[Reply | None], str | None]:
        """Replies in the order of the inputs, and the limit that stopped the asking."""
        own = [None] * len(inputs) if hint is None else hint.cpu()
        questions = [self._messages(text, row) for text, row in zip(inputs, own, strict=True)]
        keys = [self._key(messages) for messages in questions]
        found = self.store.read(keys)
        missing = {key: messages for key, messages in zip(keys, questions, strict=True) if key not in found}
        self._count("from_store", len(keys) - len(missing))
        limit = None
        if missing:
            with ThreadPoolExecutor(self.concurrency) as pool:
                asked = {key: pool.submit(self._ask, key, messages, purpose, budgets) for key, messages in missing.items()}
                for future in wait(asked.values(), return_when=FIRST_EXCEPTION).not_done:
                    future.cancel()
            for key, future in asked.items():
                if future.cancelled():
                    continue
                error = future.exception()
                if isinstance(error, BudgetSpent):
                    limit = str(error)
                elif error is not None:
                    raise error
                else:
                    found[key] = future.result()
        replies = [found.get(key) for key in keys]
        words = [name.lower() for name in self.class_names]
        self._count("off_format", sum(reply is not None and _parse(reply.content, words) is None for reply in replies))
        return replies, limit

    def _ask(self, key: str, messages: list[dict], purpose: str, budgets: list) -> Reply:
        """One question, until it has a reply that can be used or none will come; stored when it returns."""
        words, off_format, failures = [name.lower() for name in self.class_names], 0, 0
        most = sum(len(message["content"].encode()) for message in messages) + self.client.max_tokens  # a token has a byte
        while True:
            self.store.begin(key, purpose, most, budgets)
            self._count("requests")
            try:
                reply = self.client.ask(messages)
            except NoReply as error:
                self.store.failed(key)
                self._count("failed_requests")
                failures += 1
                if failures > self.retries:
                    raise InputError(
                        f"{self.client.base_url or 'the default server'} gave no answer in {failures} requests, at last "
                        f"{error}; what was answered is kept: run the same command again"
                    ) from None
                pause_before(failures - 1, error.pause)
                continue
            except BaseException:
                self.store.failed(key)
                raise
            self.store.arrived(key, purpose, reply.tokens_in, reply.tokens_out)
            if _parse(reply.content, words) is None and off_format < self.format_retries:
                off_format += 1
                continue
            self.store.finish(key, reply)
            return reply

    def _count(self, what: str, times: int = 1) -> None:
        with self._counting:
            self.counts[what] += times

    def _messages(self, text: str, hint: Tensor | None) -> list[dict[str, str]]:
        question = self.prompt.replace("{labels}", " or ".join(self.class_names)).replace("{text}", text)
        if self.hint is not None and hint is not None:
            question = f"{state(self.hint, self.class_names, hint, BINS)}\n\n{question}"
        return [{"role": "system", "content": self.system}, {"role": "user", "content": question}]

    def _key(self, messages: list[dict[str, str]]) -> str:
        asked = [self.client.base_url, self.client.model, self.client.max_tokens, self.client.extra, messages]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _parse(content: str, words: list[str]) -> int | None:
    """The class that a reply names and nothing else, but for case, quotes and a full stop."""
    word = content.strip().strip("\"'.*` ").lower()
    return words.index(word) if word in words else None
