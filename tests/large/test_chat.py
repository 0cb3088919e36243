"""Chat against a server that misbehaves: nothing lost, nothing asked twice, nothing bought not_asked, no key
anywhere."""

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from kcm_lightning.core.predictions import Purpose, Query
from kcm_lightning.large import Chat
from kcm_lightning.large.budget import Budget, Prices
from kcm_lightning.utils.errors import InputError
from tests.large.chat_server import ChatServer, right_word

ROOT = Path(__file__).parents[2]
CLASSES = ["negative", "positive"]


def chat(server: ChatServer, folder: Path, **options) -> Chat:
    settings = {"concurrency": 4, "timeout": 1.0, "prompt": "Is it {labels}?\n\n{text}", **options}
    model = Chat("judge-1", server.url, answers=str(folder / "answers.sqlite"), **settings)
    model.load(CLASSES, torch.device("cpu"))
    return model


def expected(texts: list[str]) -> list[int]:
    return [CLASSES.index(right_word(text)) for text in texts]


def reviews(count: int) -> list[str]:
    return [f"review number {i} says {'good' if i % 3 else 'bad'} things" for i in range(count)]


def test_answers_confidences_and_the_store(tmp_path):
    texts = reviews(20)
    with ChatServer() as server:
        answer = chat(server, tmp_path).answer(Query(texts))
        again = chat(server, tmp_path)
        assert torch.equal(again.answer(Query(texts)).prediction, answer.prediction)
        assert sum(server.requests.values()) == 20
    assert answer.prediction.tolist() == expected(texts)
    torch.testing.assert_close(answer.confidence, torch.full((20,), 0.75))
    usage = again.usage()
    assert usage["requests"] == 20 and usage["this_command"]["from_store"] == 20
    assert usage["tokens_in"] == sum(len(text.split()) for text in texts) and usage["tokens_out"] == 20


def test_a_server_without_logprobs_gets_the_stated_confidence(tmp_path):
    with ChatServer(logprobs=False) as server:
        answer = chat(server, tmp_path, confidence_without_logprobs=0.8).answer(Query(reviews(6)))
    assert answer.prediction.tolist() == expected(reviews(6))
    torch.testing.assert_close(answer.confidence, torch.full((6,), 0.8))


@pytest.mark.slow
def test_ten_thousand_reviews_with_every_fault(tmp_path):
    texts = reviews(10_000)
    faults = dict.fromkeys(("429", "500", "cut", "hang", "garbage"), 0.01)
    with ChatServer(faults, off_format="number 77 ") as server:
        model = chat(server, tmp_path, concurrency=32)
        answer = model.answer(Query(texts))
    wanted = expected(texts)
    wanted[77] = -2  # off-format to the end: no answer
    assert answer.prediction.tolist() == wanted
    assert model.usage()["this_command"]["off_format"] == 1 and server.sent[texts[77]] == 2
    failed = model.requests.counts["failed_requests"]
    assert 350 < failed < 650
    assert model.usage()["requests"] == 10_001 + failed == model.requests.counts["requests"]


_WORKER = """
import sys, torch
from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Chat
model = Chat("judge-1", sys.argv[1], answers=sys.argv[2], concurrency=4, prompt="Is it {labels}?\\n\\n{text}")
model.load(["negative", "positive"], torch.device("cpu"))
texts = [f"review number {i} says {'good' if i % 3 else 'bad'} things" for i in range(400)]
print(model.answer(Query(texts)).prediction.tolist())
"""


@pytest.mark.slow
def test_killed_half_way_and_started_again(tmp_path):
    path = tmp_path / "answers.sqlite"
    with ChatServer(delay=0.02) as server:
        command = [sys.executable, "-c", _WORKER, server.url, str(path)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        first = subprocess.Popen(command, env=environment)
        while sum(server.sent.values()) < 150 and first.poll() is None:
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        time.sleep(0.2)
        stored = sqlite3.connect(path).execute("SELECT count(*) FROM replies").fetchone()[0]
        assert 100 < stored < 400
        second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        repeated = sum(count - 1 for count in server.requests.values())
    assert repeated <= 4
    (said,) = [
        int(line.split()[0]) for line in second.stdout.splitlines() if "requests were under way" in line
    ] or [0]
    assert repeated <= said <= 4  # one that the server never saw was under way too
    assert json.loads(second.stdout.splitlines()[-1]) == expected(reviews(400))


@pytest.mark.slow
def test_processes_at_once_ask_nothing_twice(tmp_path):
    with ChatServer(delay=0.02) as server:
        command = [sys.executable, "-c", _WORKER, server.url, str(tmp_path / "answers.sqlite")]
        options = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "stdout": subprocess.PIPE, "text": True}
        both = [subprocess.Popen(command, **options) for _ in range(2)]
        said = [process.communicate(timeout=120)[0] for process in both]
        assert sum(server.requests.values()) == 400
    assert all(json.loads(printed.splitlines()[-1]) == expected(reviews(400)) for printed in said)


@pytest.mark.parametrize(
    ("budget", "most"),
    [
        (Budget(calls=10), {"requests": 10}),
        (Budget(tokens=600), {"tokens": 600}),
        (Budget(money=0.01), {"money": 0.01}),
    ],
)
def test_a_hard_budget_stops_cleanly_and_resumes(tmp_path, budget, most):
    texts, prices = reviews(300), Prices(input=10.0, output=30.0)
    with ChatServer() as server:
        with pytest.raises(InputError, match=r"the budget of .* is spent .* run the same command again"):
            chat(server, tmp_path, budget=budget, prices=prices).answer(Query(texts))
        spent = sum(server.requests.values())
        model = chat(server, tmp_path, budget=Budget(), prices=prices)
        usage = model.usage() | {"tokens": model.usage()["tokens_in"] + model.usage()["tokens_out"]}
        assert 0 < spent < 300 and all(usage[name] <= value for name, value in most.items())
        assert usage["money"] == pytest.approx((10 * usage["tokens_in"] + 30 * usage["tokens_out"]) / 1e6)
        assert model.answer(Query(texts)).prediction.tolist() == expected(texts)
        assert sum(server.requests.values()) == 300


def test_fit_buys_nothing_unasked_and_no_more_than_granted(tmp_path):
    with ChatServer() as server:
        assert chat(server, tmp_path).distribution(Query(reviews(20), purpose=Purpose.FIT)).isnan().all()
        assert not server.requests
        taught = chat(server, tmp_path, fit_budget=Budget(calls=5)).distribution(
            Query(reviews(20), purpose=Purpose.FIT)
        )[:, 0]
        assert sum(server.requests.values()) == 5 and (~taught.isnan()).all(1).sum() == 5
        again = chat(server, tmp_path, fit_budget=Budget(calls=5)).distribution(
            Query(reviews(20), purpose=Purpose.FIT)
        )[:, 0]
        assert sum(server.requests.values()) == 5 and torch.equal(again.isnan(), taught.isnan())
        chat(server, tmp_path, fit_budget=Budget(calls=5)).answer(
            Query(reviews(20))
        )  # inference is not fit's business
        assert sum(server.requests.values()) == 20


def test_a_hint_is_part_of_the_question(tmp_path):
    with ChatServer() as server:
        model = chat(server, tmp_path, hint="A small model says {label} ({probability:.0%}).")
        assert model.uses_hint
        messages = model.messages("fine", torch.tensor([0.28, 0.72]))
        assert (
            messages[-1]["content"]
            == "A small model says positive (70%).\n\nIs it negative or positive?\n\nfine"
        )
        assert chat(server, tmp_path).requests.key(model.messages("fine", None)) != model.requests.key(
            messages
        )


def test_a_text_with_braces_is_asked_as_it_stands(tmp_path):
    with ChatServer() as server:
        chat(server, tmp_path).answer(Query(["{text} {labels} {nothing}"]))
        assert list(server.requests) == ["{text} {labels} {nothing}"]


def test_bad_input_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    with ChatServer() as server:
        with pytest.raises(InputError, match=r"refuses the key \(401\): check the key in OPENAI_API_KEY"):
            chat(server, tmp_path).answer(Query(["x"]))
        monkeypatch.setenv("OPENAI_API_KEY", "good")
        other = Chat("judge-2", server.url, answers=str(tmp_path / "a"))
        other.load(CLASSES, torch.device("cpu"))
        with pytest.raises(InputError, match="does not know 'judge-2'; it has judge-1"):
            other.answer(Query(["x"]))
        server.always = "500"
        with pytest.raises(InputError, match=r"gave no answer in 2 requests.*run the same command again"):
            chat(server, tmp_path, retries=1).answer(Query(["x"]))
        wrong = Chat("judge-1", server.url + "/nowhere", answers=str(tmp_path / "a"))
        wrong.load(CLASSES, torch.device("cpu"))
        with pytest.raises(InputError, match=r"404.*check --model\.teacher\.base_url"):
            wrong.answer(Query(["x"]))
    with pytest.raises(InputError, match=r"cannot be reached.*base_url"):
        chat(server, tmp_path).answer(Query(["x"]))  # the server is gone
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    default = Chat("judge-1", answers=str(tmp_path / "a"))
    default.load(CLASSES, torch.device("cpu"))
    with pytest.raises(InputError, match="OPENAI_API_KEY holds no key"):
        default.answer(Query(["x"]))
    wrong_options = (
        {"prompt": "{text} {label}"},
        {"hint": "{broken"},
        {"concurrency": 0},
    )
    for options in (*wrong_options, {"budget": Budget(money=1)}, {"api_key_env": "sk-planted"}):
        with pytest.raises(InputError) as wrong:
            Chat("judge-1", **options)
        assert "planted" not in str(wrong.value)


def test_the_key_is_nowhere(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-secret")
    caplog.set_level("DEBUG")
    with ChatServer({"500": 0.5}, echo_key=True) as server:
        model = chat(server, tmp_path, retries=30, concurrency=1)
        model.answer(Query(reviews(5)))
        assert server.keys == {"Bearer sk-planted-secret"}
        server.always = "500"
        for number in range(30):  # the key stands anywhere in the message
            with pytest.raises(InputError) as failed:
                chat(server, tmp_path, retries=0).answer(Query([f"another {number}"]))
            assert "plant" not in str(failed.value)
    said = [
        str(failed.value),
        repr(failed.value.__cause__),
        capsys.readouterr(),
        caplog.text,
        str(model.usage()),
        model.identity,
    ]
    assert not any("planted" in str(text) for text in said)
    assert not any(b"planted" in file.read_bytes() for file in tmp_path.iterdir())


def test_tokens_that_the_server_does_not_count_are_counted_at_the_most(tmp_path):
    with ChatServer(odd="no usage") as server:
        with pytest.raises(InputError, match="budget of 2000 tokens is spent"):
            chat(server, tmp_path, budget=Budget(tokens=2_000)).answer(Query(reviews(100)))
        assert 0 < sum(server.requests.values()) < 10


def test_what_a_reply_may_be_long_is_reserved(tmp_path):
    with ChatServer() as server, pytest.raises(InputError, match="budget of 1500 tokens is spent"):
        chat(server, tmp_path, budget=Budget(tokens=1_500), extra={"max_completion_tokens": 2_000}).answer(
            Query(reviews(5))
        )
    assert not server.requests


_SPENDER = """
import sys, torch
from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Chat
from kcm_lightning.large.budget import Budget
from kcm_lightning.utils.errors import InputError
options = {"answers": sys.argv[2], "concurrency": 4, "prompt": "{text}"}
model = Chat("judge-1", sys.argv[1], budget=Budget(tokens=3000), **options)
model.load(["negative", "positive"], torch.device("cpu"))
try:
    model.answer(Query([f"{sys.argv[3]} {i} good things" for i in range(1000)]))
except InputError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_budget_holds_over_processes(tmp_path):
    with ChatServer(delay=0.01) as server:
        command = [sys.executable, "-c", _SPENDER, server.url, str(tmp_path / "a.sqlite")]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started = [
            subprocess.Popen([*command, name], env=environment, stdout=subprocess.PIPE, text=True)
            for name in ("one", "two")
        ]
        assert all("3000 tokens is spent" in process.communicate()[0] for process in started)
        assert 0 < sum(len(text.split()) + 1 for text in server.sent.elements()) <= 3_000


def test_money_is_counted_at_the_prices_of_its_time(tmp_path):
    with ChatServer() as server:
        chat(server, tmp_path, prices=Prices(1000.0, 1000.0)).answer(Query(reviews(10)))
        spent = chat(server, tmp_path, prices=Prices(1000.0, 1000.0)).usage()["money"]
        cheap = chat(server, tmp_path, prices=Prices(1.0, 1.0), budget=Budget(money=spent))
        assert cheap.usage()["money"] == spent > 0
        with pytest.raises(InputError, match="money is spent"):
            cheap.answer(Query(["something new"]))


def test_off_format_replies_are_kept_and_counted_once(tmp_path):
    with ChatServer(off_format="odd") as server:
        model = chat(server, tmp_path, budget=Budget(calls=1))
        assert model.answer(Query(["odd one"])).prediction.tolist() == [-2]
        again = chat(server, tmp_path)
        for _ in range(3):
            assert again.answer(Query(["odd one"])).prediction.tolist() == [-2]
        assert server.requests["odd one"] == 2 and again.usage()["this_command"]["off_format"] == 1


@pytest.mark.parametrize("odd", ["no content", "too long"])
def test_a_refused_sample_has_no_answer_and_blocks_nothing(tmp_path, odd):
    texts = ["good thing", "a long story", "bad thing"]
    with ChatServer(odd=odd) as server:
        found = chat(server, tmp_path).answer(Query(texts)).prediction.tolist()
        asked = sum(server.requests.values())
        assert (
            chat(server, tmp_path).answer(Query(texts)).prediction.tolist() == found
            and sum(server.requests.values()) == asked
        )
    wanted = expected(texts) if odd == "too long" else [-2, -2, -2]
    wanted[1] = -2
    assert found == wanted


def test_a_model_that_refuses_everything_is_no_sample_s_fault(tmp_path):
    """Also where the store has another model's answers."""
    with ChatServer(odd="too long") as server:
        assert chat(server, tmp_path).answer(Query(["good thing"])).prediction.tolist() == expected(
            ["good thing"]
        )
        with pytest.raises(InputError, match="maximum context length"):
            chat(server, tmp_path, extra={"n": 1}).answer(Query([f"a long story {i}" for i in range(100)]))
        assert sum(server.requests.values()) < 30  # it does not try them all
        kept = (
            sqlite3.connect(tmp_path / "answers.sqlite").execute("SELECT count(*) FROM replies").fetchone()[0]
        )
    assert kept == 1


def test_a_refused_question_alone_is_answered_by_the_student_where_the_model_has_answered_before(tmp_path):
    with ChatServer(odd="too long") as server:
        chat(server, tmp_path).answer(Query(["good thing"]))
        later = chat(server, tmp_path, concurrency=1)
        assert later.answer(Query(["a long story"])).prediction.tolist() == [-2]
        assert later.usage()["this_command"]["refused"] == 1
    with ChatServer(odd="too long") as server:  # also where it comes first, one at a time
        found = chat(server, tmp_path / "other", concurrency=1).answer(Query(["a long story", "good thing"]))
    assert found.prediction.tolist() == [-2, *expected(["good thing"])]


def test_an_answer_without_choices_is_a_fault(tmp_path):
    with (
        ChatServer(odd="no choices") as server,
        pytest.raises(InputError, match="gave no answer in 1 requests"),
    ):
        chat(server, tmp_path, retries=0).answer(Query(["x"]))


def test_probability_is_of_all_the_words_tokens_and_no_more(tmp_path):
    with ChatServer(odd="pieces") as server:
        answer = chat(server, tmp_path).answer(Query(reviews(4)))
    torch.testing.assert_close(answer.confidence, torch.full((4,), 0.8 * 0.9))
    from kcm_lightning.large.reply_probability import Step, probability_of

    steps = [Step("something else", -0.1)]
    assert probability_of("positive", steps) is None and probability_of("positive", []) is None


def test_an_unknown_model_is_asked_once_and_costs_nothing(tmp_path):
    """Its server's list is a hint alone; see test_chat_replies.py for servers that answer to other names."""
    with ChatServer() as server:
        model = Chat("judge-9", server.url, answers=str(tmp_path / "a"), concurrency=8)
        model.load(CLASSES, torch.device("cpu"))
        with pytest.raises(InputError, match=r"does not exist.*does not know 'judge-9'; it has judge-1"):
            model.answer(Query(reviews(50)))
        assert sum(server.requests.values()) == 1 == model.usage()["requests"]
        assert model.usage()["tokens_in"] == 0


def test_fit_with_a_budget_looks_for_the_key_first(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv(
        "OPENAI_BASE_URL", "http://127.0.0.1:9"
    )  # `base_url: null` is OpenAI's, whatever stands here
    Chat("m", answers=str(tmp_path / "a")).check_before_fit()
    with pytest.raises(InputError, match="holds no key"):
        Chat("m", answers=str(tmp_path / "a"), fit_budget=Budget(calls=5)).check_before_fit()


@pytest.mark.parametrize(
    ("said", "label"),
    [(" 'Very good.' ", 0), ("very_good", 0), ("n.a.", 1), ("N.A", 1), ("very", -1), ("", -1)],
)
def test_strict_parsing(said, label, tmp_path):
    from kcm_lightning.large.reply_store import Reply

    model = Chat("m", "http://127.0.0.1:9/v1", answers=str(tmp_path / "a"))
    model.load(["very_good", "N.A."], torch.device("cpu"))
    assert model.class_of(Reply(said, None)) == label


def test_probability_of_an_unlikely_answer_keeps_it_the_answer():
    from kcm_lightning.large.base import spread

    rows = spread(torch.tensor([1, 0, -1]), torch.tensor([0.2, 0.9, 0.9]), 4)[:, 0]
    assert rows[0].argmax() == 1 and rows[0].sum() == pytest.approx(1)
    torch.testing.assert_close(rows[1], torch.tensor([0.9, 0.1 / 3, 0.1 / 3, 0.1 / 3]))
    assert rows[2].isnan().all() and math.isnan(rows[2, 0])
