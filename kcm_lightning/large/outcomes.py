"""What the questions of a command came to, and how many that came to nothing are too many to go on."""

import re

from kcm_lightning.large.chat_errors import Refused
from kcm_lightning.large.reply_store import Reply
from kcm_lightning.utils.errors import InputError

IN_A_ROW = 16  # refusals without an answer between, whatever they say
UNCLEAR_IN_A_ROW = 3  # equal refusals that do not say that they are about the question
LAST_ONES = 3  # refusals with no answer after them that are not settled
_UNCLEAR_SHARE = 0.1  # of the questions that were answered, beside the first few
_SHARE = 1 / 3  # of the questions of a command, whatever the refusals say
_ENOUGH_FOR_A_SHARE = 10  # questions
_STORED = 50  # answers of earlier commands at most that speak for the server of now
_NEARLY_ALL = 0.9  # of the replies name no class
_ENOUGH = 20  # replies after which nothing more is asked
_ENOUGH_AT_THE_END = 5


class Refusals:
    """Counts the refusals of a server until they are no matter of single questions.

    Attributes:
        row: keys of the questions that were refused since the last answer.
        all: keys of all that were refused in this command.
    """

    def __init__(self) -> None:
        self.row: list[str] = []
        self.all: set[str] = set()
        self._words, self._same = "", 0
        self._answers = self._unclear = 0
        self._over: str | None = None

    def answered(self) -> None:
        """Notes an answer."""
        self._answers += 1
        self._same, self.row = 0, []

    def refused(self, key: str, refusal: Refused, *, answered: int = 0) -> str | None:
        """Notes a refusal.

        Args:
            key: of the question.
            refusal: what the server says.
            answered: questions of this command that have an answer, also of an earlier one.

        Returns:
            Why nothing more should be asked; None where it is a matter of this question.
        """
        words = re.sub(r"\S*\d\S*", "#", str(refusal))  # numbers and ids differ
        self._same = self._same + 1 if words == self._words else 1
        self._words = words
        self.row.append(key)
        self.all.add(key)
        self._unclear += not refusal.of_the_question
        self._over = self._over or self._too_many(refusal, answered)
        return self._over

    def _too_many(self, refusal: Refused, answered: int) -> str | None:
        unclear_row = not refusal.of_the_question and self._same >= UNCLEAR_IN_A_ROW
        if unclear_row or len(self.row) >= IN_A_ROW:
            return f"{len(self.row)} questions in a row were refused, at last: {refusal}"
        refused, asked = len(self.all), self._answers + len(self.all)
        together = asked + min(max(0, answered - self._answers), _STORED)
        many = self._unclear > UNCLEAR_IN_A_ROW + _UNCLEAR_SHARE * self._answers
        if many and not refusal.of_the_question:
            return f"{self._unclear} of {asked} questions were refused, at last: {refusal}"
        if together >= _ENOUGH_FOR_A_SHARE and refused > _SHARE * together:
            return f"{refused} of {asked} questions were refused, at last: {refusal}"
        return None

    def unsure(self, *, stopped: bool) -> set[str]:
        """Keys of refused questions that are not to be settled yet.

        Several refusals with no answer after them may be the beginning of a trouble that is none of these
        questions.

        Args:
            stopped: whether an error has ended the asking.
        """
        if self._over:
            return self.all
        return set(self.row) if stopped or len(self.row) >= LAST_ONES else set()


class ReplyFormat:
    """Counts the questions of a command by what their replies can be used for.

    Attributes:
        off_format: keys of questions whose reply names no class.
        refused: keys of questions that the server refuses.
        money: what each question has cost, by key, where that is known.
        without_probability: keys of questions whose reply names a class, with no probability.
    """

    def __init__(self) -> None:
        self.off_format: set[str] = set()
        self.refused: set[str] = set()
        self.money: dict[str, float] = {}
        self.without_probability: set[str] = set()
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
        self.without_probability.discard(key)
        if own is self._usable and reply.probability is None:
            self.without_probability.add(key)
        if reply.money is not None:
            self.money[key] = reply.money
        if own is self.off_format:
            self._example = reply
            if problem := self.problem(_ENOUGH):
                raise InputError(f"{problem}. Nothing more is asked")

    @property
    def answered(self) -> int:
        """How many questions have a reply."""
        return len(self.off_format) + len(self._usable)

    def __len__(self) -> int:
        return len(self.refused) + self.answered

    def problem(self, least: int = _ENOUGH_AT_THE_END) -> str | None:
        """What is wrong where nearly no reply can be used; None where that is not so.

        Args:
            least: how many replies there must be to say so.
        """
        off, replies = len(self.off_format), self.answered
        if replies < least or off < _NEARLY_ALL * replies:
            return None
        said = f"{self._example.content[-200:]!r}"
        cut = ", which was cut off: raise --model.teacher.max_tokens" if self._example.cut else ""
        return (
            f"{off} of {replies} replies of the large model name no class, for instance {said}{cut}. The "
            "last line of a reply must be the name of a class: look at --model.teacher.prompt"
        )
