"""Questions asked side by side in an event loop, each until it has a usable reply or is refused."""

import asyncio
import random
from dataclasses import dataclass

from kcm_lightning.large.budget import BudgetSpent, Cost
from kcm_lightning.large.chat_errors import NoReply, Refused
from kcm_lightning.large.chat_messages import Messages
from kcm_lightning.large.chat_state import Server
from kcm_lightning.large.reply_store import Limit, Reply, Request, UnderWay
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
        refused_before: whether the server refused it in an earlier command, so that it is no news.
    """

    request: Request
    messages: Messages
    before: tuple[Reply, int] | None
    refused_before: bool = False


class Round:
    """Some questions, asked side by side.

    Args:
        server: whom to ask.
        questions: what to ask.
        limits: budgets.

    Attributes:
        found: replies by key.
        refused: what was refused, by key.
        limit: name of the limit that stopped the asking; None where none did.
        error: what ended the asking; None where nothing did.
    """

    def __init__(self, server: Server, questions: list[Question], limits: list[Limit]):
        self.server, self.limits = server, limits
        self.found: dict[str, Reply] = {}
        self.refused: dict[str, Refused] = {}
        self.limit: str | None = None
        self._left = iter(questions)
        self._places = min(server.concurrency, len(questions))
        self._stop = asyncio.Event()
        self.error: Exception | None = None
        self._under_way: set[asyncio.Task] = set()

    async def run(self) -> None:
        """Asks, until all is answered, or one error or a limit says that it is no use.

        Raises:
            InputError: an error of the latter kind; what was under way was waited for.
        """
        await self._start()
        await asyncio.gather(*(self._work() for _ in range(self._places)))
        if self.error is not None:
            raise self.error

    async def _start(self) -> None:
        """Looks at key and server, as long as nothing says to stop: nothing is bought by it."""
        starting = asyncio.create_task(self.server.client.start())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if starting.done():
            starting.result()
        else:
            starting.cancel()

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
                self.error = self.error or error
                self._stop.set()

    async def _answer(self, question: Question) -> None:
        key, server = question.request.key, self.server
        try:
            self.found[key] = reply = await self._ask(question)
        except Refused as error:
            reason = None
            if not (question.refused_before and error.of_the_question):
                reason = server.refusals.refused(key, error, answered=server.format.answered)
            self.refused[key] = error
            if reason is None:
                return
            doubtful = server.refusals.all
            await asyncio.to_thread(server.store.forget, sorted(doubtful))
            self.refused = {
                other: refusal for other, refusal in self.refused.items() if other not in doubtful
            }
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
            reply.money = booked.money + self._paid_before(question)
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
            server.paid[request.key] = server.paid.get(request.key, 0.0) + booked.money
            await asyncio.to_thread(server.store.settle, request, booked, reply, attempts=attempt)
        await asyncio.to_thread(server.note_answer)
        return reply

    def _paid_before(self, question: Question) -> float:
        """What a question has cost: its reply in an earlier command, and all that was sent in this one."""
        before = question.before[0].money if question.before else None
        return (before or 0.0) + self.server.paid.get(question.request.key, 0.0)

    def _cost_of(self, error: NoReply | Refused, *, unknown: Cost) -> Cost:
        return unknown if error.cost is None else self.server.priced(error.cost)

    def _gave_up(self, failures: int, error: NoReply) -> str:
        client = self.server.client
        where = "." if client.answered else "; is --model.teacher.base_url right?"
        reason = str(error).rstrip(".")
        return (
            f"{client.base_url} gave no answer in {failures} requests, at last {reason}{where} What was "
            "answered is kept: run the same command again"
        )
