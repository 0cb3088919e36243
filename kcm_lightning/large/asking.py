"""Questions asked side by side in an event loop, each until it has a usable reply or is refused."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from kcm_lightning.large.budget import BudgetSpent, Cost, Prices
from kcm_lightning.large.chat_client import ChatClient, Messages
from kcm_lightning.large.chat_errors import NoReply, Refused
from kcm_lightning.large.outcomes import Refusals, ReplyFormat
from kcm_lightning.large.owners import CLOCKS
from kcm_lightning.large.reply_store import Limit, Reply, ReplyStore, Request, UnderWay
from kcm_lightning.utils.errors import InputError

LONGEST_PAUSE = 30.0  # seconds
_GLANCE = 0.05  # seconds between looks at what another process is asking


class Stopped(Exception):
    """Nothing more is to be sent."""


@dataclass
class Question:
    """A question that has no settled reply yet.

    Args:
        request: what may be sent for it.
        messages: its words.
        before: a reply that cannot be used and how often the question was answered, where it was.
    """

    request: Request
    messages: Messages
    before: tuple[Reply, int] | None


class Server:
    """How a chat model's server is asked, and what is known of it in this process.

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
        self.refusals, self.format = Refusals(), ReplyFormat()
        self.answered = False
        self._first, self._cut_off, self._waited = asyncio.Lock(), 0, False

    def open(self, store: ReplyStore, model: str, other_names: list[str]) -> None:
        """Takes a store.

        Args:
            store: of replies.
            model: stands for the model and how it is asked.
            other_names: what stood for it in earlier versions.
        """
        self.store, self._model = store, model
        self.answered = any(store.answers(name) for name in (model, *other_names))
        self.tell_what_was_cut_off()

    def note_answer(self) -> None:
        """Notes that the model has answered, in the store too."""
        self.refusals.answered()
        if not self.answered:
            self.store.note_that_it_answers(self._model)
            self.answered = True

    def turn(self) -> AbstractAsyncContextManager:
        """Lets requests go one at a time until the first reply has shown how the server wants them."""
        return nullcontext() if self.client.answered else self._first

    def settled(self, reply: Reply, attempts: int) -> bool:
        """Whether a question is not asked again by itself."""
        return reply.refused is not None or self.names_a_class(reply) or attempts > self.format_retries

    def priced(self, cost: Cost) -> Cost:
        """Tokens with their price."""
        return Cost(0, cost.tokens_in, cost.tokens_out, self.prices.of(cost))

    def tell_what_is_waited_for(self) -> None:
        """Prints, once, that another process is asking, or was killed on a machine out of sight."""
        if not self._waited:
            self._waited = True
            longest = self.client.timeout + CLOCKS
            print(
                f"another process is asking what is to be asked here: its replies are waited for, and after "
                f"{longest:.0f} seconds without any the questions are sent again"
            )

    def tell_what_was_cut_off(self) -> None:
        """Prints how many requests had no known end, where there are more than before."""
        more = self.store.cut_off - self._cut_off
        if more > 0:
            print(f"{more} requests were under way when an earlier command stopped; they are sent again")
            self.counts["under_way_at_an_earlier_stop"] += more
            self._cut_off = self.store.cut_off


class Round:
    """Some questions, asked side by side.

    Args:
        server: whom to ask.
        questions: what to ask.
        limits: budgets.

    Attributes:
        found: replies by key.
        limit: name of the limit that stopped the asking; None where none did.
    """

    def __init__(self, server: Server, questions: list[Question], limits: list[Limit]):
        self.server, self.limits = server, limits
        self.found: dict[str, Reply] = {}
        self.refused: dict[str, Refused] = {}
        self.limit: str | None = None
        self._left = iter(questions)
        self._places = min(server.concurrency, len(questions))
        self._stop = asyncio.Event()
        self._error: Exception | None = None
        self._under_way: set[asyncio.Task] = set()

    async def run(self) -> None:
        """Asks, until all is answered, or one error or a limit says that it is no use.

        Raises:
            InputError: an error of the latter kind; what was under way was waited for.
        """
        await self.server.client.start()
        await asyncio.gather(*(self._work() for _ in range(self._places)))
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Lets nothing new be sent; to be called in the loop."""
        self._stop.set()

    def cut_short(self) -> None:
        """Ends also what is under way; to be called in the loop."""
        self.stop()
        for sending in self._under_way:
            sending.cancel()

    async def _work(self) -> None:
        for question in self._left:
            if self._stop.is_set():
                return
            try:
                await self._answer(question)
            except Stopped:
                return
            except BudgetSpent as error:
                self.limit = str(error)
                self._stop.set()
            except Exception as error:
                self._error = self._error or error
                self._stop.set()

    async def _answer(self, question: Question) -> None:
        key, server = question.request.key, self.server
        try:
            self.found[key] = reply = await self._ask(question)
        except Refused as error:
            reason = server.refusals.refused(key, error, ever_answered=server.answered)
            if reason is None:
                self.refused[key] = error
                return
            row = server.refusals.row
            await asyncio.to_thread(server.store.forget, row)
            self.refused = {other: refusal for other, refusal in self.refused.items() if other not in row}
            raise InputError(f"{reason}. None of these is settled; nothing more is asked") from None
        server.format.note(key, reply, usable=server.names_a_class(reply))

    async def _ask(self, question: Question) -> Reply:
        """One question, until it has a usable reply, which is stored, or none will come."""
        reply, attempts = question.before or (None, 0)
        failures, server = 0, self.server
        while reply is None or not server.settled(reply, attempts):
            try:
                async with server.turn():
                    found = await self._begin(question, attempts)
                    if found is None:
                        reply, attempts = await self._send(question, attempts + 1), attempts + 1
            except BudgetSpent:
                if reply is None:
                    raise
                return reply
            except UnderWay:
                server.tell_what_is_waited_for()
                await self._pause(_GLANCE)
                continue
            except NoReply as error:
                failures += error.counts
                if failures > server.retries:
                    raise InputError(self._gave_up(failures, error)) from None
                growing = 0.5 * 2 ** (failures - 1) * random.uniform(0.5, 1.0)
                await self._pause(growing if error.pause is None else error.pause)
                continue
            if found is not None:
                reply, attempts = found
                server.counts["from_store"] += 1
        return reply

    async def _begin(self, question: Question, attempts: int) -> tuple[Reply, int] | None:
        """Notes that a request is about to be sent; or returns what another process has stored."""
        if self._stop.is_set():
            raise Stopped
        begin = self.server.store.begin
        try:
            return await asyncio.to_thread(begin, question.request, self.limits, attempts=attempts, wait=True)
        finally:
            self.server.tell_what_was_cut_off()

    async def _pause(self, seconds: float) -> None:
        """Waits before a further attempt."""
        try:
            async with asyncio.timeout(min(seconds, LONGEST_PAUSE)):
                await self._stop.wait()
        except TimeoutError:
            return
        raise Stopped

    async def _send(self, question: Question, attempt: int) -> Reply:
        """One request: its reply, stored, and its cost, booked, whatever becomes of it."""
        server, request = self.server, question.request
        server.counts["requests"] += 1
        reply, booked = None, request.most
        sending = asyncio.create_task(server.client.ask(question.messages))
        self._under_way.add(sending)
        try:
            await asyncio.wait([sending])
            reply, cost = sending.result()
            if cost is None:
                server.counts["replies_counted_at_the_most_they_can_cost"] += 1
            else:
                booked = server.priced(cost)
            before = question.before[0].money if question.before else None
            reply.money = booked.money + (before or 0.0)
        except NoReply as error:
            booked = self._cost_of(error, unknown=request.most if error.billed else Cost())
            server.counts["failed_requests"] += 1
            raise
        except Refused as error:
            booked = self._cost_of(error, unknown=Cost())
            raise
        except InputError:
            booked = Cost()
            raise
        except asyncio.CancelledError:  # cut short: what it cost will not be known
            raise Stopped from None
        finally:
            self._under_way.discard(sending)
            await asyncio.to_thread(server.store.settle, request, booked, reply, attempts=attempt)
        await asyncio.to_thread(server.note_answer)
        return reply

    def _cost_of(self, error: NoReply | Refused, *, unknown: Cost) -> Cost:
        return unknown if error.cost is None else self.server.priced(error.cost)

    def _gave_up(self, failures: int, error: NoReply) -> str:
        client = self.server.client
        where = "" if client.answered else "; is --model.teacher.base_url right?"
        return (
            f"{client.base_url} gave no answer in {failures} requests, at last {error}{where} What was "
            "answered is kept: run the same command again"
        )
