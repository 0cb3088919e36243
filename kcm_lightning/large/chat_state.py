"""A chat model's server, and what a command knows of it."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext

from kcm_lightning.large.budget import Cost, Prices
from kcm_lightning.large.chat_client import ChatClient
from kcm_lightning.large.outcomes import Refusals, ReplyFormat
from kcm_lightning.large.owners import CLOCKS
from kcm_lightning.large.reply_store import Reply, ReplyStore


class Server:
    """How a chat model's server is asked, and what is known of it in this process.

    Args:
        client: sends one request.
        prices: what tokens cost.
        names_a_class: whether a reply can be used.
        concurrency: requests under way at once.
        retries: further requests when one fails.
        format_retries: further requests when a reply cannot be used.

    Attributes:
        answered: whether it has answered any question, now or earlier.
        paid: what each question has cost in this command, with all that came to nothing, by key.
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
        self.paid: dict[str, float] = {}
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
