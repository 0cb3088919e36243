"""Replies that end badly, reason aloud, or say of themselves what cannot be, against a real server."""

import json
import math
import sqlite3
from pathlib import Path

import pytest
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Chat
from kcm_lightning.large.budget import Budget, Prices
from kcm_lightning.utils.errors import InputError
from tests.large.scripted_server import ScriptedServer, error, reply

CLASSES = ["negative", "positive"]


def chat(server: ScriptedServer, folder: Path, classes=CLASSES, **options) -> Chat:
    settings = {"concurrency": 1, "timeout": 5.0, "prompt": "{text}", "retries": 1, **options}
    model = Chat("judge-1", server.url, answers=str(folder / "a.sqlite"), **settings)
    model.load(classes, torch.device("cpu"))
    return model


def stored(folder: Path) -> list[str]:
    return [row[0] for row in sqlite3.connect(folder / "a.sqlite").execute("SELECT reply FROM replies")]


@pytest.mark.parametrize("ended", ["error", "insufficient_system_resource", "abort"])
@pytest.mark.parametrize("content", ["", "negative"])
def test_a_reply_that_the_server_broke_off_is_sent_again_and_not_stored(tmp_path, content, ended):
    bad = True

    def script(asked, number):
        return 200, reply(content, finish=ended) if bad and number >= 2 else reply()

    with ScriptedServer(script) as server:
        with pytest.raises(InputError, match=rf"no answer in 2 requests, at last .*finish_reason {ended}"):
            chat(server, tmp_path).answer(Query(["a", "b", "c"]))
        assert len(stored(tmp_path)) == 2 and len(server.asked) == 4
        bad = False
        assert chat(server, tmp_path).answer(Query(["a", "b", "c"])).prediction.tolist() == [1] * 3


REASONING = {
    "brackets": ("[THINK]hm\npositive[/THINK]negative", "stop", 0),
    "brackets cut off": ("[THINK]It could be\npositive\n", "length", -2),
    "a name before": ("<seed:think>positive</seed:think>negative", "stop", 0),
    "with attributes": ('<think time="3">\npositive\n</think>\nnegative', "stop", 0),
    "tokens": ("<|START_THINKING|>positive<|END_THINKING|><|START_RESPONSE|>negative<|END_RESPONSE|>", "", 0),
    "tokens alone": ("<|START_RESPONSE|>negative<|END_RESPONSE|>", "stop", 0),
    "tokens cut off": ("<|START_THINKING|>hm\npositive", "length", -2),
    "scratchpad": ("<scratchpad>\npositive\n</scratchpad>\nI cannot tell.", "stop", -2),
    "channels": (
        "<|channel|>analysis<|message|>\npositive\n<|end|><|channel|>final<|message|>negative",
        "",
        0,
    ),
    "channels cut off": ("<|channel|>analysis<|message|>One word.\npositive", "length", -2),
    "channels with lost marks": ("analysisOne word.\npositive\nassistantfinalnegative", "stop", 0),
    "channels with lost marks cut off": ("analysisOne word.\npositive", "length", -2),
    "unused tokens": ("<unused94>thought\npositive\n<unused95>negative", "stop", 0),
    # a list of the choices is no choice
    "cut in a sentence": ("Options:\nnegative\npositive\nI think the right choice is", "length", -2),
    "cut in a list": ("The choices are:\n- negative\n- positive\n", "length", -2),
    "cut at the name": ("It is clear:\n\nNegative", "length", 0),
    "cut with one word": ("negative\n", "length", 0),
}


@pytest.mark.parametrize("kind", REASONING)
def test_reasoning_is_no_answer(tmp_path, kind):
    content, ended, wanted = REASONING[kind]
    with ScriptedServer(lambda *_: (200, reply(content, finish=ended))) as server:
        assert chat(server, tmp_path, format_retries=0).answer(Query(["x"])).prediction.tolist() == [wanted]


def test_a_word_that_was_cut_may_be_the_beginning_of_another(tmp_path):
    with ScriptedServer(lambda *_: (200, reply("10", finish="length"))) as server:
        model = chat(server, tmp_path, ["1", "10", "100"], format_retries=0)
        assert model.answer(Query(["x"])).prediction.tolist() == [-2]


def tokens(*steps) -> dict:
    given = [{"token": text, "logprob": math.log(p), "bytes": raw and list(raw)} for text, p, raw in steps]
    return {"content": given}


SURE = {
    "reasoning apart": (
        "positive",
        tokens(("hm", 0.5, None), ("</think>", 0.9, None), ("positive", 0.55, None)),
        0.55,
    ),
    "halves of a letter": (
        "naïve",
        tokens(("na", 0.9, b"na"), ("\\xc3", 0.98, b"\xc3"), ("\\xaf", 0.97, b"\xaf"), ("ve", 0.8, b"ve")),
        0.9 * 0.98 * 0.97 * 0.8,
    ),
    "channels": (
        "<|channel|>analysis<|message|>no<|end|><|channel|>final<|message|>positive",
        tokens(
            ("<|channel|>", 0.5, None),
            ("no", 0.5, None),
            ("<|message|>", 0.4, None),
            ("positive", 0.7, None),
            ("<|return|>", 0.3, None),
        ),
        0.7,
    ),
    "bytes of another spelling": (
        "positive",
        tokens(("Ġpos", 0.9, "Ġpos".encode()), ("itive", 0.8, None)),
        0.72,
    ),
}


@pytest.mark.parametrize("kind", SURE)
def test_the_probability_is_that_of_the_last_tokens(tmp_path, kind):
    content, logprobs, wanted = SURE[kind]
    body = reply(content)
    body["choices"][0]["logprobs"] = logprobs
    with ScriptedServer(lambda *_: (200, body)) as server:
        model = chat(server, tmp_path, ["naïve", "positive"])
        torch.testing.assert_close(model.answer(Query(["x"])).confidence, torch.tensor([wanted]))
        assert "answers_with_the_constant_confidence" not in model.usage()["this_command"]


def test_answers_with_the_constant_confidence_are_counted(tmp_path):
    body = reply()
    body["choices"][0]["logprobs"] = tokens(("something else", 0.4, None))

    with ScriptedServer(lambda asked, number: (200, body if number % 2 else reply("hm"))) as server:
        model = chat(server, tmp_path, concurrency=1)
        assert model.answer(Query(["x", "y"])).confidence.tolist() == pytest.approx([0.9, 0.9])
        assert model.usage()["this_command"]["answers_with_the_constant_confidence"] == 2


def test_no_question_with_words_has_no_tokens(tmp_path):
    """A budget of money holds at a server that counts nothing."""
    with ScriptedServer(lambda *_: (200, reply(usage=(0, 0)))) as server:
        model = chat(server, tmp_path, prices=Prices(100, 100), budget=Budget(money=0.2), concurrency=4)
        with pytest.raises(InputError, match=r"the budget of 0\.2 money is spent"):
            model.answer(Query([f"text {i}" for i in range(500)]))
        usage = model.usage()
        assert 5 < len(server.asked) < 30 and 0.1 < usage["money"] <= 0.2
        assert usage["this_command"]["replies_counted_at_the_most_they_can_cost"] == len(server.asked)


def test_a_question_costs_all_that_was_sent_for_it(tmp_path):
    """Its first reply names no class, two requests fail, and one question is refused at a price."""
    answered: dict[str, int] = {}

    def script(asked, number):
        text = asked["messages"][-1]["content"]
        if number in (2, 5):
            return 200, {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}
        if text == "r 4":
            return 200, reply(None, finish="content_filter")
        answered[text] = answered.get(text, 0) + 1
        return 200, reply("hm" if answered[text] == 1 else "positive")

    with ScriptedServer(script) as server:
        model = chat(server, tmp_path, prices=Prices(1.0, 1.0), retries=3)
        model.answer(Query([f"r {i}" for i in range(10)]))
        usage = model.usage()
        now = usage["this_command"]
        assert now["priced_answers"] == 10 and now["price_of_these"] == pytest.approx(usage["money"])
        again = chat(server, tmp_path, prices=Prices(1.0, 1.0))
        again.answer(Query([f"r {i}" for i in range(10)]))  # stored, with their prices
        assert again.usage()["this_command"]["price_of_these"] == pytest.approx(usage["money"])


BALANCE = {"status_code": 1008, "status_msg": "insufficient balance"}
ERRORS = {
    "an event": b'event: error\ndata: {"message": "Insufficient credits", "code": 402}\n\n',
    "plain words": "Your credit balance is too low",
    "a field of its own": {"choices": None, "base_resp": BALANCE},
    "a field of its own beside choices": {"success": False, "choices": [], "base_resp": BALANCE},
}


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_in_a_good_status_are_read(tmp_path, kind):
    with ScriptedServer(lambda *_: (200, ERRORS[kind])) as server:
        with pytest.raises(InputError, match=r"refuses the request .*(credits|balance)"):
            chat(server, tmp_path).answer(Query(["x"]))
        assert len(server.asked) == 1 and not stored(tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        {"errors": ["deprecated field"]},
        {"error": {"code": 0, "message": "ok"}},
        {"error": ""},
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
    ],
)
def test_a_good_reply_with_a_warning_is_good(tmp_path, more):
    with ScriptedServer(lambda *_: (200, reply() | more)) as server:
        assert chat(server, tmp_path).answer(Query(["x"])).prediction.tolist() == [1]
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_review_about_a_field_does_not_drop_it(tmp_path, status):
    """The server repeats the review in its error; what it says itself is about no field."""
    review = "nice book on logprobs and temperature"

    def script(asked, number):
        text = asked["messages"][-1]["content"]
        bad = review in text
        return (status, error(f"Invalid prompt, not allowed: {text!r}")) if bad else (200, reply())

    with ScriptedServer(script) as server:
        model = chat(server, tmp_path, extra={"temperature": 0}, prompt="{labels}?\n{text}")
        assert model.answer(Query(["a", review, "b"])).prediction.tolist() == [1, -2, 1]
        assert all({"logprobs", "temperature"} <= body.keys() for body in server.asked)


@pytest.mark.parametrize("status", [404, 409, 500, 503])
def test_other_statuses_change_no_field(tmp_path, status):
    with ScriptedServer(lambda *_: (status, error("logprobs is not supported"))) as server:
        with pytest.raises(InputError):
            chat(server, tmp_path).answer(Query(["x"]))
        assert all("logprobs" in body for body in server.asked)


def test_names_of_a_servers_models_are_shown_clean_and_short(tmp_path):
    names = ["zz\x1b[31m\nnew line", "y" * 30_000]
    models = (200, {"data": [{"id": name} for name in names]})
    with (
        ScriptedServer(lambda *_: (404, error("model not found")), models) as server,
        pytest.raises(InputError, match="it has yyy") as told,
    ):
        chat(server, tmp_path).answer(Query(["x"]))
    assert str(told.value).isprintable() and len(str(told.value)) < 600


def test_a_key_that_may_ask_and_not_look_is_used(tmp_path, capsys):
    models = (401, error("Missing scopes: api.model.read"))
    with ScriptedServer(lambda *_: (200, reply()), models) as server:
        assert chat(server, tmp_path).answer(Query(["x"])).prediction.tolist() == [1]
    assert "does not show its models" in capsys.readouterr().out
    with ScriptedServer(lambda *_: (401, json.dumps(error("wrong key"))), models) as server:
        with pytest.raises(InputError, match=r"refuses the key \(401\).*wrong key"):
            chat(server, tmp_path).answer(Query(["y", "z"]))
        assert len(server.asked) == 1
