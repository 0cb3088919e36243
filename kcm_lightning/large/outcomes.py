"""What the questions of a command came to, and how many that came to nothing are too many to go on."""

import re

from kcm_lightning.large.chat_errors import Refused
from kcm_lightning.large.reply_store import Reply
from kcm_lightning.utils.errors import InputError

IN_A_ROW = 16  # equal refusals that say that the question is too long, or its contents not allowed
UNCLEAR_IN_A_ROW = 3  # equal refusals that do not say so
_UNCLEAR_SHARE = 0.1  # of the questions that were answered, beside the first few
_NEARLY_ALL = 0.9  # of the replies name no class
_ENOUGH = 20  # replies after which nothing more is asked
_ENOUGH_AT_THE_END = 5


class Refusals:
    """Counts the refusals of a server until they are no matter of single questions."""

    def __init__(self) -> None:
        self.row: list[str] = []  # keys of the questions that were refused since the last answer
        self._words, self._same = "", 0
        self._answers = self._unclear = 0

    def answered(self) -> None:
        """Notes an answer."""
        self._answers += 1
        self._same, self.row = 0, []

    def refused(self, key: str, refusal: Refused, *, ever_answered: bool) -> str | None:
        """Notes a refusal.

        Args:
            key: of the question.
            refusal: what the server says.
            ever_answered: whether the server has answered any question, now or earlier.

        Returns:
            Why nothing more should be asked; None where it is a matter of this question.
        """
        words = re.sub(r"\S*\d\S*", "#", str(refusal))  # numbers and ids differ
        self._same = self._same + 1 if words == self._words else 1
        self._words = words
        self.row.append(key)
        self._unclear += not refusal.of_the_question
        most = IN_A_ROW if refusal.of_the_question else UNCLEAR_IN_A_ROW
        many = self._unclear > UNCLEAR_IN_A_ROW + _UNCLEAR_SHARE * self._answers
        if self._same >= most or (not ever_answered and len(self.row) >= IN_A_ROW):
            return f"{len(self.row)} questions in a row were refused, at last: {refusal}"
        if many and not refusal.of_the_question:
            asked = self._answers + self._unclear
            return f"{self._unclear} of {asked} questions were refused, at last: {refusal}"
        return None


class ReplyFormat:
    """Counts the questions of a command by what their replies can be used for.

    Attributes:
        off_format: keys of questions whose reply names no class.
        refused: keys of questions that the server refuses.
        money: what each reply has cost, by key, where that is known.
    """

    def __init__(self) -> None:
        self.off_format: set[str] = set()
        self.refused: set[str] = set()
        self.money: dict[str, float] = {}
        self._usable: set[str] = set()
        self._example = Reply("")

    def note(self, key: str, reply: Reply, *, usable: bool) -> None:
        """Notes a question's reply.

        Raises:
            InputError: nearly no reply of many can be used.
        """
        kinds = (self.off_format, self.refused, self._usable)
        own = self.refused if reply.refused is not None else self._usable if usable else self.off_format
        for kind in kinds:
            kind.discard(key)
        own.add(key)
        if reply.money is not None:
            self.money[key] = reply.money
        if own is self.off_format:
            self._example = reply
            if problem := self.problem(_ENOUGH):
                raise InputError(f"{problem}. Nothing more is asked")

    def __len__(self) -> int:
        return len(self.off_format) + len(self.refused) + len(self._usable)

    def problem(self, least: int = _ENOUGH_AT_THE_END) -> str | None:
        """What is wrong where nearly no reply can be used; None where that is not so.

        Args:
            least: how many replies there must be to say so.
        """
        off, replies = len(self.off_format), len(self.off_format) + len(self._usable)
        if replies < least or off < _NEARLY_ALL * replies:
            return None
        said = f"{self._example.content[-200:]!r}"
        cut = ", which was cut off: raise --model.teacher.max_tokens" if self._example.cut else ""
        return (
            f"{off} of {replies} replies of the large model name no class, for instance {said}{cut}. The "
            "last line of a reply must be the name of a class: look at --model.teacher.prompt"
        )
