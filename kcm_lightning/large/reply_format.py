"""Replies that name no class: how many are too many for a run to be a success."""

from kcm_lightning.large.reply_store import Reply
from kcm_lightning.utils.errors import InputError

_NEARLY_ALL = 0.9
_ENOUGH = 20  # replies after which nothing more is asked
_ENOUGH_AT_THE_END = 5


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
