"""Refused questions: how many in a row are no more a matter of the questions."""

import re

from kcm_lightning.large.chat_errors import Refused

IN_A_ROW = 16  # equal refusals that say that the question is too long, or its contents not allowed
UNCLEAR_IN_A_ROW = 3  # equal refusals that do not say so
_UNCLEAR_SHARE = 0.1  # of the questions that were answered, beside the first few


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
