"""Replies in the forms that servers have for them, and requests without what a server does not take."""

import json
import math
from pathlib import Path

import pytest
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Chat
from kcm_lightning.large.budget import Budget, Prices
from kcm_lightning.utils.errors import InputError
from tests.large.scripted_server import Answer, ScriptedServer, error, reply

CLASSES = ["negative", "positive"]


def chat(server: ScriptedServer, folder: Path, **options) -> Chat:
    settings = {"concurrency": 1, "timeout": 5.0, "prompt": "{text}", "retries": 1, **options}
    model = Chat(settings.pop("name", "judge-1"), server.url, answers=str(folder / "a.sqlite"), **settings)
    model.load(CLASSES, torch.device("cpu"))
    return model


def events(*bodies: dict | str) -> bytes:
    """A stream of events."""
    data = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return "".join(f"data: {one}\r\n\r\n" for one in data).encode()


def delta(content: str | None, finish: str | None = None, logprob: float | None = None) -> dict:
    choice: dict = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    if logprob is not None:
        choice["logprobs"] = {"content": [{"token": content, "logprob": logprob}]}
    return {"choices": [choice]}


STREAM = events(
    delta("posi", logprob=math.log(0.8)),
    delta("tive", logprob=math.log(0.75)),
    delta(None, "stop"),
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
    "[DONE]",
)


def with_logprobs(logprobs, content="positive") -> dict:
    body = reply(content)
    body["choices"][0]["logprobs"] = logprobs
    return body


TOKEN = {"token": "positive", "logprob": math.log(0.7)}
GOOD = {
    "parts": (reply([{"type": "text", "text": "posi"}, {"type": "text", "text": "tive"}]), 0.9),
    "parts with thinking": (reply([{"type": "thinking", "thinking": "negative?"}, "positive"]), 0.9),
    "thinking before": (reply("<think>It is not negative.\nnegative\n</think>\n\nPositive."), 0.9),
    "thinking without its beginning": (reply("negative, no\n</think>\npositive"), 0.9),
    "thinking apart": (reply("positive", reasoning_content="negative"), 0.9),
    "markup": (reply("**Answer:**\n\n> `Positive`!"), 0.9),
    "harmony": (reply("<|channel|>analysis<|message|>no<|end|><|channel|>final<|message|>positive"), 0.9),
    "logprobs null": (with_logprobs(None), 0.9),
    "logprobs without content": (with_logprobs({"content": None}), 0.9),
    "logprobs as a list": (with_logprobs([TOKEN]), 0.7),
    "logprobs as of old": (with_logprobs({"tokens": ["positive"], "token_logprobs": [math.log(0.7)]}), 0.7),
    "logprobs of nonsense": (with_logprobs({"content": [{"token": "positive", "logprob": "high"}]}), 0.9),
    "logprobs of the thinking too": (
        with_logprobs(
            {"content": [{"token": "<think>no</think>\n", "logprob": -3.0}, TOKEN]},
            "<think>no</think>\npositive",
        ),
        0.7,
    ),
    "a stream unasked": (STREAM, 0.6),
    "a null between choices": ({"choices": [None, {"message": {"content": "positive"}}]}, 0.9),
    "choices as of old": ({"choices": [{"text": " positive"}]}, 0.9),
}


@pytest.mark.parametrize("kind", GOOD)
def test_replies_that_are_fine_are_read(tmp_path, kind):
    body, confidence = GOOD[kind]
    with ScriptedServer(lambda asked, number: (200, body)) as server:
        answer = chat(server, tmp_path).answer(Query(["x"]))
        assert len(server.asked) == 1
    assert answer.prediction.tolist() == [1]
    torch.testing.assert_close(answer.confidence, torch.tensor([confidence]))


BAD = {
    "choices empty": ({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}, "no choices"),
    "choices null": ({"choices": None}, "no choices"),
    "no choices": ({"id": "x"}, "no choices"),
    "a list": ([reply()], "no JSON object"),
    "no JSON": ("positive", "no JSON"),
    "nothing": ("", "no JSON"),
    "an error in a 200": (error("the sky falls"), "the sky falls"),
    "an error in a choice": ({"choices": [{"error": {"message": "the sky falls"}}]}, "the sky falls"),
    "an error in a stream": (events(delta("pos"), error("the sky falls")), "the sky falls"),
    "words for an error": ({"detail": "the sky falls"}, "the sky falls"),
    "a stream that breaks off": (events(delta("pos")), "broke off"),
    "a page": ("<!doctype html><title>Sign in</title>", "Sign in"),
    "deep nesting": ("[" * 100_000 + "]" * 100_000, "nested deeper than 64"),
    "deep nesting within": ('{"choices": ' + '{"a":' * 5_000 + "1" + "}" * 5_001, "nested deeper than 64"),
}


@pytest.mark.parametrize("kind", BAD)
def test_replies_that_are_none_are_told_in_a_line_with_the_servers_words(tmp_path, kind):
    body, words = BAD[kind]
    with ScriptedServer(lambda asked, number: (200, body)) as server:
        with pytest.raises(InputError) as told:
            chat(server, tmp_path, retries=0).answer(Query(["x", "y"]))
        assert len(server.asked) == 1
    assert words in str(told.value) and "\n" not in str(told.value) and len(str(told.value)) < 700


def test_a_reply_without_choices_costs_what_the_server_counts(tmp_path):
    body = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}
    with ScriptedServer(lambda asked, number: (200, body) if number < 3 else (200, reply())) as server:
        model = chat(server, tmp_path, retries=5)
        assert model.answer(Query(["x"])).prediction.tolist() == [1]
    assert (model.usage()["requests"], model.usage()["tokens_in"], model.usage()["tokens_out"]) == (4, 24, 1)


@pytest.mark.parametrize(
    "usage",
    [(-83_000, 1), (9, -1), (10**12, 1), (9, 1e300), ("9", 1), (None, None), (True, True), (9.5, 1)],
)
def test_counts_that_cannot_be_are_counted_at_the_most(tmp_path, usage):
    text = "x" * 100
    with ScriptedServer(lambda asked, number: (200, reply(usage=usage))) as server:
        model = chat(server, tmp_path, prices=Prices(1.0, 1.0), budget=Budget(tokens=100_000))
        model.answer(Query([text]))
    usage = model.usage()
    assert 100 <= usage["tokens_in"] <= 400 and usage["tokens_out"] == 8 and 0 < usage["money"] < 1e-3
    assert usage["this_command"]["replies_counted_at_the_most_they_can_cost"] == 1


def refuses(field: str, status: int, message: str, **more):
    """A server that takes no such field."""

    def script(asked: dict, number: int) -> Answer:
        return (status, error(message, **more)) if field in asked else (200, reply())

    return script


FIELDS = [
    ("logprobs", 403, "You are not allowed to request logprobs from this model", {}, "logprobs", None),
    ("logprobs", 400, "This model does not support logprobs", {}, "logprobs", None),
    ("logprobs", 422, "Extra inputs are not permitted: logprobs", {}, "logprobs", None),
    (
        "temperature",
        400,
        "Unsupported value: 'temperature' does not support 0 with this model. Only the "
        "default (1) value is supported.",
        {"param": "temperature", "code": "unsupported_value"},
        "temperature",
        None,
    ),
    (
        "max_tokens",
        400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        {"param": "max_tokens", "code": "unsupported_parameter"},
        "max_tokens",
        "max_completion_tokens",
    ),
]


@pytest.mark.parametrize(("field", "status", "message", "more", "gone", "instead"), FIELDS)
def test_what_a_server_does_not_take_is_left_out_from_then_on(
    tmp_path, capsys, field, status, message, more, gone, instead
):
    with ScriptedServer(refuses(field, status, message, **more)) as server:
        model = chat(server, tmp_path, concurrency=4, extra={"temperature": 0})
        assert model.answer(Query([f"text {i}" for i in range(20)])).prediction.tolist() == [1] * 20
        assert len(server.asked) == 21 and gone in server.asked[0]
        assert all(gone not in body for body in server.asked[1:])
        assert instead is None or all(body[instead] == 8 for body in server.asked[1:])
        kept = {"model", "messages", "temperature", "logprobs"} - {gone}
        assert all(kept <= body.keys() for body in server.asked)
    assert capsys.readouterr().out.count("from now on") == 1


def test_words_of_a_server_are_shown_without_what_a_terminal_obeys(tmp_path, capsys):
    words = "\x1b[2J\ud800 no logprobs\r\n\x07 are supported"

    def script(asked, number):
        return (400, error(words)) if "logprobs" in asked else (402, error(words))

    with ScriptedServer(script) as server, pytest.raises(InputError, match="are supported") as told:
        chat(server, tmp_path).answer(Query(["x"]))
    said = capsys.readouterr().out.strip()
    assert "no logprobs are supported" in said and said.isprintable() and str(told.value).isprintable()


def test_fields_are_left_out_one_after_the_other(tmp_path):
    def script(asked, number):
        wrong = next((name for name in ("max_tokens", "logprobs", "temperature") if name in asked), None)
        return (400, error(f"Unsupported parameter: '{wrong}'", param=wrong)) if wrong else (200, reply())

    with ScriptedServer(script) as server:
        model = chat(server, tmp_path, retries=0, extra={"temperature": 0})
        assert model.answer(Query(["x", "y"])).prediction.tolist() == [1, 1] and len(server.asked) == 5


def test_a_server_that_only_streams_is_asked_to_stream(tmp_path):
    def script(asked, number):
        return (200, STREAM) if asked.get("stream") else (400, error("This model only supports stream=true"))

    with ScriptedServer(script) as server:
        answer = chat(server, tmp_path).answer(Query(["x", "y"]))
        assert answer.prediction.tolist() == [1, 1] and len(server.asked) == 3
    torch.testing.assert_close(answer.confidence, torch.full((2,), 0.6))


@pytest.mark.parametrize(
    "models",
    [
        (200, {"data": [{"id": "*"}]}),
        (200, {"data": [{"id": "openai/judge-1"}]}),
        (200, {"data": [{"id": "something-else"}]}),
        (200, {"data": None}),
        (200, [1, None]),
        (200, "<html>"),
        (403, error("not for you")),
        (302, "", {"Location": "http://elsewhere.invalid/login"}),
        (500, ""),
    ],
)
def test_the_list_of_models_is_a_hint(tmp_path, models):
    with ScriptedServer(lambda asked, number: (200, reply()), models) as server:
        assert chat(server, tmp_path).answer(Query(["x"])).prediction.tolist() == [1]
