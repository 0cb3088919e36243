"""Many questions to a chat model: side by side, within budgets, each until it has a usable reply."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any

from kcm_lightning.large.budget import BudgetSpent, Cost, Prices
from kcm_lightning.large.chat_client import ChatClient, NoReply, Refused, pause_before
from kcm_lightning.large.reply_store import Limit, Reply, ReplyStore, Request, UnderWay
from kcm_lightning.utils.errors import InputError

_GLANCE = 0.05  # seconds between looks at what another process is asking
_REFUSALS = 16  # questions in a row, before any was answered, after which it is not the questions

Messages = list[dict[str, str]]


class ChatRequests:
    """The questions to one chat model, their replies in a store.

    Args:
        client: sends one request.
        prices: what tokens cost.
        names_a_class: whether a reply can be used.
        concurrency: requests under way at once.
        retries: further requests when one fails.
        format_retries: further requests when a reply cannot be used.
    """

    store: ReplyStore

    def __init__(
        self,
        *,
        client: ChatClient,
        prices: Prices,
        names_a_class: Callable[[Reply], bool],
        concurrency: int,
        retries: int,
        format_retries: int,
    ):
        self.client, self.prices, self.names_a_class = client, prices, names_a_class
        self.concurrency, self.retries, self.format_retries = concurrency, retries, format_retries
        self.counts: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._off_format: set[str] = set()
        self._answered, self._refusals = False, 0

    def open(self, make_store: Callable[[], ReplyStore]) -> None:
        """Opens the store, once."""
        if hasattr(self, "store"):
            return
        self.store = make_store()
        self._answered = self.store.answers(self._model)
        if self.store.cut_off:
            print(
                f"{self.store.cut_off} requests were under way when an earlier command stopped; "
                "they are sent again"
            )
            self._count("under_way_at_an_earlier_stop", self.store.cut_off)

    def usage(self) -> dict[str, Any]:
        """Requests, tokens and money over the life of the store, and this process's counts."""
        counts = dict(self.counts) | {"off_format": len(self._off_format)}
        return {**vars(self.store.spent()), "this_command": counts, "concurrency": self.concurrency}

    def ask_all(
        self, questions: list[Messages], *, purpose: str, limits: list[Limit]
    ) -> tuple[list[Reply | None], str | None]:
        """Replies in the order of the questions, and the name of the limit that stopped the asking.

        Args:
            questions: messages of each.
            purpose: what they are asked for.
            limits: budgets.
        """
        keys = [self.key(messages) for messages in questions]
        stored = self.store.read(keys)
        found = {key: reply for key, (reply, attempts) in stored.items() if self._settled(reply, attempts)}
        missing = {key: messages for key, messages in zip(keys, questions, strict=True) if key not in found}
        self._count("from_store", len(keys) - len(missing))
        limit = None
        if missing:
            limit = next((name for own in limits if (name := own.budget.grants_nothing_of())), None)
        if missing and limit is None:
            fresh, limit = self._ask_side_by_side(missing, stored, purpose=purpose, limits=limits)
            found |= fresh
        for key, (reply, _) in stored.items():
            found.setdefault(key, reply)  # off-format, and no budget to ask again
        self._off_format |= {key for key, reply in found.items() if not self.names_a_class(reply)}
        return [found.get(key) for key in keys], limit

    def _ask_side_by_side(
        self,
        questions: dict[str, Messages],
        stored: dict[str, tuple[Reply, int]],
        *,
        purpose: str,
        limits: list[Limit],
    ) -> tuple[dict[str, Reply], str | None]:
        """Replies by key, and the name of the limit that stopped the asking."""
        self.client.start()
        pool = ThreadPoolExecutor(self.concurrency)
        asked: dict[str, tuple[Request, Future]] = {}
        try:
            for key, messages in questions.items():
                request = Request(key, purpose, self._cost(Cost(0, *self.client.most_tokens(messages))))
                job = pool.submit(self._ask, request, messages, limits, stored.get(key))
                asked[key] = request, job
            wait([job for _, job in asked.values()], return_when=FIRST_EXCEPTION)
        finally:  # also at Ctrl-C: nothing more is sent, what is under way is waited for and stored
            pool.shutdown(cancel_futures=True)
        found, limit = {}, None
        for key, (request, job) in asked.items():
            error = None if job.cancelled() else job.exception()
            if isinstance(error, BudgetSpent):
                limit = str(error)
            elif error is not None:
                raise error
            elif not job.cancelled():
                found[key] = self._or_refused(request, job.result())
        return found, limit

    def _or_refused(self, request: Request, reply: Reply | Refused) -> Reply:
        """A reply, or an empty one, stored, to a question that is refused where others were answered."""
        if isinstance(reply, Reply):
            return reply
        if not self._answered:
            raise InputError(str(reply))
        self.store.settle(request, Cost(), Reply("", None), attempts=self.format_retries + 1)
        self._count("refused")
        return Reply("", None)

    def _settled(self, reply: Reply, attempts: int) -> bool:
        return self.names_a_class(reply) or attempts > self.format_retries

    def _ask(
        self, request: Request, messages: Messages, limits: list[Limit], before: tuple[Reply, int] | None
    ) -> Reply | Refused:
        """One question, until it has a usable reply, which is stored, or is refused, or none will come."""
        reply, attempts = before or (None, 0)
        failures = 0
        waited = 0.0  # for another process, which may have died on another machine
        while reply is None or not self._settled(reply, attempts):
            try:
                wait_for_others = waited < 2 * self.client.timeout
                found = self.store.begin(request, limits, attempts=attempts, wait=wait_for_others)
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
            try:
                reply = self._send(request, messages, attempts + 1)
                attempts += 1
            except NoReply as error:
                failures += error.counts
                if failures > self.retries:
                    raise InputError(self._gave_up(failures, error)) from None
                pause_before(failures - 1, error.pause)
            except Refused as error:
                return error  # what it means, the other questions will show
        return reply

    def _send(self, request: Request, messages: Messages, attempt: int) -> Reply:
        """One request: its reply, stored, and its cost, booked, whatever becomes of it."""
        self._count("requests")
        try:
            reply, cost = self.client.ask(messages)
        except NoReply as error:
            self.store.settle(request, request.most if error.billed else Cost())
            self._count("failed_requests")
            raise
        except Refused as error:
            self.store.settle(request, Cost())
            self._refusals += 1
            if self._refusals >= _REFUSALS and not self._answered:
                raise InputError(str(error)) from None
            raise
        except InputError:
            self.store.settle(request, Cost())
            raise
        except BaseException:
            self.store.settle(request, request.most)
            raise
        self.store.settle(
            request, request.most if cost is None else self._cost(cost), reply, attempts=attempt
        )
        if cost is None:
            self._count("replies_counted_at_the_most_they_can_cost")
        if not self._answered:
            self.store.note_that_it_answers(self._model)
            self._answered = True
        return reply

    def _gave_up(self, failures: int, error: NoReply) -> str:
        where = "" if self._answered else "; is --model.teacher.base_url right?"
        return (
            f"{self.client.base_url} gave no answer in {failures} requests, at last {error}{where} What was "
            "answered is kept: run the same command again"
        )

    def _cost(self, cost: Cost) -> Cost:
        return Cost(0, cost.tokens_in, cost.tokens_out, self.prices.of(cost))

    def _count(self, what: str, times: int = 1) -> None:
        with self._counting:
            self.counts[what] += times

    def key(self, messages: Messages) -> str:
        """Digest of a question, and of the model and how it is asked."""
        return self._digest([messages])

    @property
    def _model(self) -> str:
        return self._digest([])

    def _digest(self, question: list) -> str:
        client = self.client
        asked = [client.base_url, client.model, client.max_tokens, client.extra, *question]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
