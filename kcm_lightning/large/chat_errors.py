"""What a chat server's error means: for this one question, for a field of the request, or for all of them."""

import re
from collections.abc import Collection
from enum import Enum

from kcm_lightning.large.budget import Cost


class NoReply(Exception):
    """A request came to nothing, and another one may not.

    Args:
        reason: what happened.
        pause: seconds that the server asks to wait for; None where it does not say.
        billed: whether the server may have answered and counted it all the same.
        counts: whether it is one of the failures that end the asking.
        cost: the tokens of what was billed, where the server counts them.
    """

    def __init__(
        self,
        reason: str,
        *,
        pause: float | None = None,
        billed: bool = False,
        counts: bool = True,
        cost: Cost | None = None,
    ):
        super().__init__(reason)
        self.pause, self.billed, self.counts, self.cost = pause, billed, counts, cost


class Refused(Exception):
    """The server refuses a question.

    Args:
        reason: what it says.
        of_the_question: whether it says that this question is too long or that its contents are not allowed;
            else it may as well be about something else.
        cost: the tokens that it counts all the same; None where it sent an error.
    """

    def __init__(self, reason: str, *, of_the_question: bool, cost: Cost | None = None):
        super().__init__(reason)
        self.of_the_question, self.cost = of_the_question, cost


class ServerError(Exception):
    """An error as a server tells it, by a status or by an error object in a reply of any status.

    Args:
        status: HTTP status, or the status that the error object states.
        message: the server's words.
        codes: its names for the error, such as `code` and `type`, in small letters.
        field: the field of the request that it names as wrong.
        pause: seconds that it asks to wait for; None where it does not say.
        page: whether it is a web page, whose words say nothing of a question.
    """

    def __init__(
        self,
        status: int,
        message: str,
        codes: Collection[str] = (),
        field: str | None = None,
        pause: float | None = None,
        page: bool = False,
    ):
        super().__init__(message)
        self.status, self.message, self.codes, self.field = status, message, frozenset(codes), field
        self.pause, self.page = pause, page


class Meaning(Enum):
    """What follows from an error."""

    QUESTION = "this question is too long, or its contents are not allowed"
    LATER = "the server is busy or in trouble"
    STOP = "key, account, quota, model or address: no question will be answered"
    UNKNOWN = "a refusal that says none of these"


# names of errors that servers and gateways use in `code` and `type`
_QUESTION_CODES = {
    *("context_length_exceeded", "string_above_max_length", "exceed_context_size_error"),
    *("contextwindowexceedederror", "prompt_too_long", "content_filter", "content_policy_violation"),
    *("contentpolicyviolationerror", "responsibleaipolicyviolation", "data_inspection_failed"),
    *("datainspectionfailed", "invalid_prompt", "moderation_blocked", "content_moderation"),
}
_STOP_CODES = {
    *("insufficient_quota", "insufficient_balance", "insufficient_credits", "billing_hard_limit_reached"),
    *("billing_not_active", "billing_error", "payment_required", "arrearage", "invalid_api_key"),
    *("authentication_error", "permission_error", "permission_denied", "account_deactivated"),
    *("model_not_found", "unsupported_country_region_territory"),
}


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


_NOT_CHARGED = re.compile(
    r"no (credits?|tokens?) (were|was|have been|will be) \w+|not (been |be )?(charged|billed)"
)
_MONEY = _any(
    r"\bcredits?\b",
    r"insufficient",
    r"\bquota",
    r"billing",
    r"payment",
    r"prepa(id|y)",
    r"\bbalance\b",
    r"\bfunds?\b",
    r"afford",
    r"(spend(ing)?|usage|hard|daily|monthly|weekly|account)\b.{0,12} (limit|cap\b)",
    r"subscri",
    r"\btrial\b",
    r"\bfree (tier|plan)",
    r"余额|欠费|充值|额度",
)
_TOO_LONG = _any(
    r"context.{0,12}(length|size|window|limit)",
    r"(prompt|input|request|messages?|text|content|body|payload|question)s? ?(is|are|was|has been)? "
    r"?(too|to) (long|large|big)",
    r"entity too large",
    r"too many (input |prompt )?tokens in",
    r"reduce (the|your) (length|size|message|prompt|input)",
    r"maximum (input|prompt|sequence|message|text|model) (length|size|tokens)",
    r"(prompt|input|sequence|text|message).{0,40}(exceed|longer than|greater than|at most).{0,40}"
    r"(length|tokens|characters|context|maximum)",
    r"inputs.{0,3} (must have (less|fewer) than \d+ )?tokens",
    r"string too long",
)
_PER_TIME = _any(r"per (second|minute|hour|day|week|month)", r"rate.?limit", r"daily|monthly|weekly")
_BUSY = _any(
    r"rate.?limit",
    r"too many requests",
    r"overload",
    r"capacity",
    r"temporar",
    r"unavailable",
    r"(try again|retry) (later|after|in (a|\d)|shortly|soon)",
    r"timed? ?out",
    r"upstream",
    r"internal (server )?error",
    r"server (is )?(busy|error)",
    r"(model|server) is (currently |still )?loading",
    r"maintenance",
)
_ACCOUNT = _any(
    r"\baccount",
    r"api[ _-]?key",
    r"authenti|authori[sz]|unauthori",
    r"permission|credential|access (is |was |has been )?(denied|to\b|restricted|blocked)",
    r"(key|token|licen[sc]e|certificate|password).{0,20}(expired|invalid|revoked|missing)",
    r"(invalid|expired|missing|wrong) (key|token|licen[sc]e|password)",
    r"licen[sc]e",
    r"organi[sz]ation|workspace|tenant|administrator",
    r"suspend|deactivat|disabled|banned|terminated",
    r"country|region|territor|location|ip address",
    r"no longer|retired|deprecat|decommission",
    r"(no such|unknown|invalid|unsupported|wrong|which) (model|deployment|engine)",
    r"(model|deployment|engine).{0,80}(not found|(not|n't) (exist|available|supported|loaded)|unknown)",
    r"endpoint|not found",
)
_CONTENTS = _any(
    r"content.{0,3}(filter|polic|management|moderation|safety|violat)",
    r"moderat",
    r"flagged",
    r"safety|unsafe|harmful|inappropriate|prohibited|disallowed|offensive|sensitive",
    r"violat.{0,40}polic",
    r"(usage|use|ai) polic",
    r"responsible ai|guardrail",
    r"blocked (by|because|due)",
    r"violence|sexual|hate|self-harm",
    r"敏感|违规|不安全|不当",
)
_ASKS_FOR_SUPPORT = re.compile(r"contact|support team|appeal")


def meaning_of(error: ServerError) -> Meaning:
    """What an error means; where its words leave a doubt, no question is held to be refused.

    Args:
        error: as the server tells it.
    """
    words = _NOT_CHARGED.sub("", error.message.lower())
    if error.codes & _STOP_CODES:
        busy = error.status == 429 and _asks_to_wait(error, words)  # some name a limit per minute so
        return Meaning.LATER if busy else Meaning.STOP
    if error.codes & _QUESTION_CODES and not _ACCOUNT.search(words):
        return Meaning.QUESTION
    if error.status in (401, 402, 407):
        return Meaning.STOP
    if says_too_long(error):
        return Meaning.QUESTION
    if _MONEY.search(words) and not (error.status == 429 and _asks_to_wait(error, words)):
        return Meaning.STOP
    found = _of_a_refused_request(error, words)
    if error.status < 300:  # an error object that came as if it were a reply
        return Meaning.LATER if found is Meaning.UNKNOWN else found
    if error.status == 500:  # with which some servers say what others say with 400
        return found if found is Meaning.QUESTION else Meaning.LATER
    if error.status > 500 or error.status in (408, 409, 425, 429):
        return Meaning.LATER
    return found


def _of_a_refused_request(error: ServerError, words: str) -> Meaning:
    if error.page:
        return Meaning.QUESTION if error.status == 413 else _by_status(error)
    if _BUSY.search(words):
        return Meaning.LATER
    if _ACCOUNT.search(words):
        return Meaning.STOP
    if _CONTENTS.search(words):
        return Meaning.UNKNOWN if _ASKS_FOR_SUPPORT.search(words) else Meaning.QUESTION
    return Meaning.QUESTION if error.status == 413 else _by_status(error)


def _by_status(error: ServerError) -> Meaning:
    elsewhere = 300 <= error.status < 400
    return Meaning.STOP if elsewhere or error.status in (403, 404, 405, 410, 451) else Meaning.UNKNOWN


def says_too_long(error: ServerError) -> bool:
    """Whether an error says that the question is too long, and not that too much was asked in a time."""
    words = error.message.lower()
    if error.page or error.status > 500 or not _TOO_LONG.search(words):
        return False
    if re.search(r"(request|message|prompt|input)s? too large|reduce your message size", words):
        return True  # for any minute
    return error.status != 429 and not _PER_TIME.search(words) and not _MONEY.search(words)


def says_unpaid(error: ServerError) -> bool:
    """Whether an error is about money."""
    words = _NOT_CHARGED.sub("", error.message.lower())
    return error.status == 402 or bool(_MONEY.search(words))


def _asks_to_wait(error: ServerError, words: str) -> bool:
    return error.pause is not None or bool(re.search(r"(retry|try again) in", words))
