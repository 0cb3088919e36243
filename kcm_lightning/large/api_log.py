"""One's own history of a chat model: requests and replies as a file has them, made recorded answers."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kcm_lightning.large.chat_reply import chosen_reply
from kcm_lightning.large.reply_probability import probability_of
from kcm_lightning.large.reply_to_class import named_class
from kcm_lightning.utils.class_names import plain_name
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.json_lines import read_json_lines

_MOST_CLASSES = 200  # that are found by themselves
_AROUND = re.compile(r"^\W+|\W+$")


@dataclass
class Exchange:
    """A question and what was said to it.

    Args:
        question: the last message of the user.
        reply: the words of the reply.
        steps: its tokens with their probabilities, where they were logged.
    """

    question: str
    reply: str
    steps: list[Any]


@dataclass
class Imported:
    """What a log holds.

    Args:
        answers: class name and its probability (None where it was not logged) by text.
        class_names: the classes, by name.
        skipped: how many lines are of no use, by reason.
        frame: what stands before and after the text in each question.
    """

    answers: dict[str, tuple[str, float | None]]
    class_names: list[str]
    frame: tuple[str, str]
    skipped: Counter[str] = field(default_factory=Counter)


def import_log(paths: Sequence[Path], prompt: str | None = None, labels: Sequence[str] = ()) -> Imported:
    """Reads logs of requests and replies.

    A line has both (as `request` and `response`, or `body` and `response`, or the two in one object), or one
    of them with a `custom_id`, as files of OpenAI's batches have.

    Args:
        paths: files of JSON lines.
        prompt: the question that was asked, with `{text}` where the text stood; None takes away what all
            questions begin and end with.
        labels: the classes; none takes the replies themselves.

    Raises:
        InputError: a file is damaged, or holds no exchange; a question is not the prompt's; or the replies
            are too many different ones for class names.
    """
    skipped: Counter[str] = Counter()
    exchanges = list(_exchanges(paths, skipped))
    if not exchanges:
        said = ", ".join(f"{count:,} {reason}" for reason, count in skipped.items()) or "it is empty"
        raise InputError(f"{paths[0]}: there is no question with its reply ({said})")
    frame = _frame(exchanges) if prompt is None else _frame_of(prompt)
    names = list(labels) or _found_names(exchanges)
    found = Imported({}, names, frame, skipped)
    for exchange in exchanges:
        _keep(exchange, found)
    return found


def _keep(exchange: Exchange, found: Imported) -> None:
    begin, end = found.frame
    question = exchange.question
    if not (question.startswith(begin) and question.endswith(end) and len(question) > len(begin + end)):
        found.skipped["questions of another prompt"] += 1
        return
    text = question[len(begin) : len(question) - len(end)].strip()
    named = named_class(exchange.reply, found.class_names)
    if not text or named.label < 0:
        found.skipped["replies that name no class" if text else "questions without a text"] += 1
        return
    answer = found.class_names[named.label]
    sure = probability_of(exchange.reply, exchange.steps, named.start, named.end) if exchange.steps else None
    if found.answers.get(text, (answer,))[0] != answer:
        found.skipped["earlier replies with another answer than the last to the same text"] += 1
    found.answers[text] = answer, sure


def _exchanges(paths: Sequence[Path], skipped: Counter[str]) -> Iterator[Exchange]:
    requests: dict[str, Any] = {}
    replies: dict[str, Any] = {}
    for path in paths:
        for _, row in read_json_lines(path, "import"):
            request, reply = _request_in(row), _reply_in(row)
            if request is not None and reply is not None:
                yield from _exchange(request, reply, skipped)
            elif "custom_id" in row and (request or reply) is not None:
                (requests if reply is None else replies)[str(row["custom_id"])] = request or reply
            else:
                skipped["lines without request and reply"] += 1
    for name, request in requests.items():
        if name in replies:
            yield from _exchange(request, replies.pop(name), skipped)
        else:
            skipped["requests without a reply"] += 1
    skipped["replies without a request"] += len(replies)
    skipped += Counter()  # leaves out what is 0


def _request_in(row: dict[str, Any]) -> dict[str, Any] | None:
    for own in (row.get("request"), row.get("body"), row):
        own = own.get("body", own) if isinstance(own, dict) else None
        if isinstance(own, dict) and isinstance(own.get("messages"), list):
            return own
    return None


def _reply_in(row: dict[str, Any]) -> dict[str, Any] | None:
    for own in (row.get("response"), row.get("completion"), row):
        own = own.get("body", own) if isinstance(own, dict) else None
        if isinstance(own, dict) and isinstance(own.get("choices"), list):
            return own
    return None


def _exchange(request: dict[str, Any], reply: dict[str, Any], skipped: Counter[str]) -> Iterator[Exchange]:
    questions = [own for own in request["messages"] if isinstance(own, dict) and own.get("role") == "user"]
    content = questions[-1].get("content") if questions else None
    if isinstance(content, list) and all(isinstance(p, dict) and p.get("type") == "text" for p in content):
        content = "".join(str(part.get("text", "")) for part in content)
    said = chosen_reply(reply)
    if not isinstance(content, str):
        skipped["questions that are no text"] += 1
    elif said is None or said.refusal is not None or not said.content.strip():
        skipped["replies without words"] += 1
    else:
        yield Exchange(content, said.content, said.steps)


def _frame(exchanges: list[Exchange]) -> tuple[str, str]:
    """What all questions begin and end with, in whole words."""
    questions = [exchange.question for exchange in exchanges]
    if len(set(questions)) < 2:
        return "", ""
    begin = os.path.commonprefix(questions)  # noqa: RUF071  of texts, not of paths
    begin = begin[: max(begin.rfind(" "), begin.rfind("\n")) + 1]
    rest = [question[len(begin) :][::-1] for question in questions]
    end = os.path.commonprefix(rest)[::-1]  # noqa: RUF071
    starts = [place for place in (end.find(" "), end.find("\n")) if place >= 0]
    return begin, end[min(starts) :] if starts else ""


def _frame_of(prompt: str) -> tuple[str, str]:
    if prompt.count("{text}") != 1:
        raise InputError("--prompt has to say once where the {text} stands")
    begin, end = prompt.split("{text}")
    return begin, end


def _found_names(exchanges: list[Exchange]) -> list[str]:
    """The classes, as the replies name them: what they say, but for case and what stands around it."""
    spelled: dict[str, Counter[str]] = {}
    for exchange in exchanges:
        last = exchange.reply.strip().splitlines()[-1]
        name = _AROUND.sub("", last)
        if name:
            spelled.setdefault(plain_name(name), Counter())[name] += 1
    if not 2 <= len(spelled) <= _MOST_CLASSES:
        raise InputError(
            f"the replies are {len(spelled):,} different ones, too {'few' if len(spelled) < 2 else 'many'} "
            "for class names: say with --labels which there are"
        )
    # the most frequent spelling, of equally frequent ones that without a capital
    best = (min(own, key=lambda name: (-own[name], name[:1].isupper(), name)) for own in spelled.values())
    return sorted(best, key=plain_name)
