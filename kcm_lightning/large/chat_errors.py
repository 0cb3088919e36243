"""What a chat server's error means: for this one question, for a field of the request, or for all of them."""

import re
from collections.abc import Collection
from enum import Enum

from kcm_lightning.large import chat_error_words as words_of
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


def meaning_of(error: ServerError) -> Meaning:
    """What an error means; where its words leave a doubt, no question is held to be refused.

    Args:
        error: as the server tells it.
    """
    words = _words(error)
    if error.codes & _STOP_CODES:
        busy = error.status == 429 and _asks_to_wait(error, words)  # some name a limit per minute so
        return Meaning.LATER if busy else Meaning.STOP
    doubt = _is_about_the_account(words)
    if error.codes & _QUESTION_CODES and not words_of.ACCOUNT.search(words):
        return Meaning.QUESTION
    if error.status in (401, 402, 407):
        return Meaning.STOP
    if says_too_long(error):
        return Meaning.QUESTION
    if says_unpaid(error) and not (error.status == 429 and _asks_to_wait(error, words)):
        return Meaning.STOP
    found = _of_a_refused_request(error, words, doubt)
    if error.status < 300:  # an error object that came as if it were a reply
        return Meaning.LATER if found is Meaning.UNKNOWN else found
    if error.status == 500:  # with which some servers say what others say with 400
        return found if found is Meaning.QUESTION else Meaning.LATER
    if error.status > 500 or error.status in (408, 409, 425, 429):
        return Meaning.LATER
    return found


def _of_a_refused_request(error: ServerError, words: str, doubt: bool) -> Meaning:
    if error.page:
        return Meaning.QUESTION if error.status == 413 else _by_status(error)
    if words_of.BUSY.search(words) or words_of.WAIT.search(words):
        return Meaning.LATER
    of_the_question = words_of.CONTENTS.search(words) or words_of.TOO_LONG.search(words)
    if of_the_question or error.codes & _QUESTION_CODES:
        unclear = doubt or error.status == 429 or words_of.UNCLEAR.search(words)
        too_long = words_of.TOO_LONG.search(words)  # which would have been found above
        return Meaning.UNKNOWN if unclear or too_long else Meaning.QUESTION
    if doubt or words_of.MODEL.search(words):
        return Meaning.STOP
    return Meaning.QUESTION if error.status == 413 else _by_status(error)


def _by_status(error: ServerError) -> Meaning:
    elsewhere = 300 <= error.status < 400
    return Meaning.STOP if elsewhere or error.status in (403, 404, 405, 410, 451) else Meaning.UNKNOWN


def says_too_long(error: ServerError) -> bool:
    """Whether an error says that the question is too long, and not that too much was asked in a time.

    What names the account, its plan or its money as well is no such error.
    """
    words = _words(error)
    if error.page or error.status > 500 or not words_of.TOO_LONG.search(words):
        return False
    numbers = words_of.LIMIT_AND_REQUESTED.search(words)
    if numbers and 0 < int(numbers[1]) < int(numbers[2]):
        return True  # in any minute
    if _is_about_the_account(words) or says_unpaid(error) or words_of.BUSY.search(words):
        return False
    if words_of.TOO_LARGE_FOR_ANY_TIME.search(words):
        return True
    return error.status != 429 and not words_of.PER_TIME.search(words)


def says_unpaid(error: ServerError) -> bool:
    """Whether an error is about money, and not about too much at once."""
    words = _words(error)
    if error.status == 402 or words_of.MONEY.search(words):
        return True
    passing = words_of.WAIT.search(words) or (
        (error.status == 429 or error.status >= 500)
        and (error.pause is not None or words_of.BUSY.search(words) or words_of.PASSING.search(words))
    )
    return bool(words_of.QUOTA.search(words)) and not passing


def _is_about_the_account(words: str) -> bool:
    return bool(words_of.ACCOUNT.search(words) or words_of.MONEY.search(words))


def _words(error: ServerError) -> str:
    return words_of.LABELED.sub("", words_of.NOT_CHARGED.sub("", error.message.lower()))


def _asks_to_wait(error: ServerError, words: str) -> bool:
    return error.pause is not None or bool(re.search(r"(retry|try again) in", words))
