"""Many questions to a chat model: from the store, else side by side, within budgets."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from kcm_lightning.large.asking import Question, Round
from kcm_lightning.large.budget import Cost
from kcm_lightning.large.chat_messages import Messages, told_apart
from kcm_lightning.large.chat_state import Server
from kcm_lightning.large.event_loop import run_in_loop
from kcm_lightning.large.reply_store import Limit, Reply, ReplyStore, Request
from kcm_lightning.large.server_url import other_spellings
from kcm_lightning.utils.errors import InputError


class ChatRequests:
    """The questions to one chat model, their replies in a store.

    Args:
        server: whom to ask.
        retry_refused: whether to ask again what the server refused in an earlier command.
    """

    store: ReplyStore

    def __init__(self, server: Server, *, retry_refused: bool):
        self.server, self.retry_refused, self.client = server, retry_refused, server.client
        self.counts, self.format = server.counts, server.format

    def open(self, make_store: Callable[[], ReplyStore]) -> None:
        """Opens the store, once."""
        if not hasattr(self, "store"):
            self.store = make_store()
            own, *others = self._digests([])
            self.server.open(self.store, own, others)

    def usage(self) -> dict[str, Any]:
        """Requests, tokens and money over the life of the store, and this process's counts.

        `problem` is why the command is no success, where it is none. Nothing before the store is open.
        """
        if not hasattr(self, "store"):
            return {}
        counts: dict[str, Any] = dict(self.counts)
        counts |= {"questions": len(self.format), "off_format": len(self.format.off_format)}
        counts |= {"refused": len(self.format.refused), "priced_answers": len(self.format.money)}
        counts |= {"price_of_these": sum(self.format.money.values())}
        if without := len(self.format.without_probability):
            counts["answers_with_the_constant_confidence"] = without
        if self.store.damaged:
            counts["damaged_replies_asked_again"] = self.store.damaged
        usage = {**vars(self.store.spent()), "currency": self.server.prices.currency}
        usage |= {"this_command": counts, "concurrency": self.server.concurrency}
        problem = self.format.problem()
        return usage | ({"problem": problem} if problem else {})

    def ask_all(
        self, questions: list[Messages], *, purpose: str, limits: list[Limit]
    ) -> tuple[list[Reply | None], str | None]:
        """Replies in the order of the questions, and the name of the limit that stopped the asking.

        Args:
            questions: messages of each.
            purpose: what they are asked for.
            limits: budgets.

        Raises:
            InputError: an error that no further question can be asked after.
        """
        keys = [self.key(messages) for messages in questions]
        stored = self._stored(questions)
        found = {
            key: reply for key, (reply, attempts) in stored.items() if self._is_used(key, reply, attempts)
        }
        missing = {key: messages for key, messages in zip(keys, questions, strict=True) if key not in found}
        self.counts["from_store"] += len(keys) - len(missing)
        for key, reply in found.items():
            self._note(key, reply)
        limit = None
        if missing:
            limit = next((name for own in limits if (name := own.budget.grants_nothing_of())), None)
        if missing and limit is None:
            fresh, limit = self._ask(missing, stored, purpose=purpose, limits=limits)
            found |= fresh
        for key, (reply, _) in stored.items():
            if key not in found:  # off-format, and no budget to ask again
                found[key] = reply
                self._note(key, reply)
        return [found.get(key) for key in keys], limit

    def _stored(self, questions: list[Messages]) -> dict[str, tuple[Reply, int]]:
        """What is stored, by the keys of now; earlier versions had several keys for one server."""
        spellings = {self.key(messages): self._digests([messages]) for messages in questions}
        rows = self.store.read([key for keys in spellings.values() for key in keys])
        found = {}
        for own, keys in spellings.items():
            row = next((rows[key] for key in keys if key in rows), None)
            if row is not None:
                found[own] = row
        return found

    def _is_used(self, key: str, reply: Reply, attempts: int) -> bool:
        again = self.retry_refused and key not in self.format.refused
        if again and (reply.refused is not None or not reply.content):
            return False
        return self.server.settled(reply, attempts)

    def _note(self, key: str, reply: Reply) -> None:
        self.format.note(key, reply, usable=self.server.names_a_class(reply))

    def _ask(
        self,
        questions: dict[str, Messages],
        stored: dict[str, tuple[Reply, int]],
        *,
        purpose: str,
        limits: list[Limit],
    ) -> tuple[dict[str, Reply], str | None]:
        """Replies by key, and the name of the limit that stopped the asking."""
        refused = [key for key in questions if key in stored and self.server.settled(*stored[key])]
        if refused:  # they are to be asked again, as if for the first time
            self.store.forget([digest for key in refused for digest in self._digests([questions[key]])])
        asked = []
        for key, messages in questions.items():
            most = self.server.priced(Cost(0, *self.client.most_tokens(messages)))
            request = Request(key, purpose, most, seconds=self.client.timeout)
            again = key in refused
            asked.append(
                Question(request, messages, None if again else stored.get(key), refused_before=again)
            )
        round = Round(self.server, asked, limits)
        try:
            run_in_loop(round.run(), stop=round.stop, cut_short=round.cut_short)
        finally:
            self._settle_refused(round)
        if round.refused and not self.server.answered:
            raise InputError(
                f"{self.client.base_url} has answered no question yet, and refused {len(round.refused)}: "
                f"{next(iter(round.refused.values()))}"
            )
        return round.found, round.limit

    def _settle_refused(self, round: Round) -> None:
        """Stores what is refused as such, once the server has answered anything at all."""
        unsure = self.server.refusals.unsure(stopped=round.error is not None)
        self.store.forget(sorted(unsure))  # some may be of an earlier round
        for key, error in round.refused.items():
            reply = Reply("", refused=str(error), money=self.server.paid.get(key))
            round.found[key] = reply
            self._note(key, reply)
            if self.server.answered and error.of_the_question and key not in unsure:
                self.store.keep(key, reply, attempts=self.server.format_retries + 1)

    def key(self, messages: Messages) -> str:
        """Digest of a question, and of the model and how it is asked."""
        return self._digests([messages])[0]

    def _digests(self, question: list[Messages]) -> list[str]:
        """The digest with the server's address in its one spelling, then those with others."""
        client = self.client
        return [
            hashlib.sha256(json.dumps([url, *rest], sort_keys=True).encode()).hexdigest()
            for rest in [[client.model, client.max_tokens, client.extra, *map(told_apart, question)]]
            for url in [client.base_url, *other_spellings(client.given_url)]
        ]
