"""What settles a question and what stops the command, against a real server."""

import sqlite3
from pathlib import Path

import pytest
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Chat
from kcm_lightning.utils.errors import InputError
from tests.large.scripted_server import ScriptedServer, error, reply

CLASSES = ["negative", "positive"]
NO_CREDIT = "Your credit balance is too low to access the API"


def chat(server: ScriptedServer, folder: Path, **options) -> Chat:
    settings = {"concurrency": 4, "timeout": 5.0, "prompt": "{text}", **options}
    model = Chat("judge-1", server.url, answers=str(folder / "answers.sqlite"), **settings)
    model.load(CLASSES, torch.device("cpu"))
    return model


def texts(count: int) -> list[str]:
    return [f"review {i}" for i in range(count)]


def stored(folder: Path) -> list[str]:
    connection = sqlite3.connect(folder / "answers.sqlite")
    return [row[0] for row in connection.execute("SELECT reply FROM replies")]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error(NO_CREDIT)),
        (403, error(NO_CREDIT)),
        (429, error(NO_CREDIT, code="insufficient_quota")),
        (500, error(NO_CREDIT)),
        (200, error(NO_CREDIT)),
        (200, error(NO_CREDIT, code=402)),
    ],
)
def test_no_credit_after_twenty_answers_stops_and_settles_nothing(tmp_path, status, body):
    paid = False

    def script(asked, number):
        return (200, reply()) if paid or number < 20 else (status, body)

    with ScriptedServer(script) as server:
        with pytest.raises(InputError, match=NO_CREDIT):
            chat(server, tmp_path).answer(Query(texts(80)))
        assert len(server.asked) < 20 + 4 * 2
        rows = stored(tmp_path)
        assert len(rows) == 20 and all('"refused": null' in row for row in rows)
        paid = True
        assert chat(server, tmp_path).answer(Query(texts(80))).prediction.tolist() == [1] * 80
        assert len(set(server.questions)) == 80 and len(server.asked) < 80 + 4 * 2


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("prompt triggering content management policy", code="content_filter")),
        (403, error("Your input was flagged by moderation")),
        (400, error("This model's maximum context length is 4096 tokens")),
        (200, reply(None, finish="content_filter")),
        (200, reply(None, refusal="I cannot judge this.")),
        (200, error("Input data may contain inappropriate content.", code="data_inspection_failed")),
    ],
)
def test_a_refused_question_is_settled_until_the_user_asks_again(tmp_path, status, body):
    refuses = True

    def script(asked, number):
        bad = refuses and "review 7" in asked["messages"][-1]["content"]
        return (status, body) if bad else (200, reply())

    with ScriptedServer(script) as server:
        wanted = [1] * 7 + [-2] + [1] * 2
        model = chat(server, tmp_path)
        assert model.answer(Query(texts(10))).prediction.tolist() == wanted
        assert model.usage()["this_command"]["refused"] == 1
        assert chat(server, tmp_path).answer(Query(texts(10))).prediction.tolist() == wanted
        assert len(server.asked) == 10
        again = chat(server, tmp_path, retry_refused=True)
        for _ in range(2):  # once a command
            assert again.answer(Query(texts(10))).prediction.tolist() == wanted
        assert len(server.asked) == 11
        refuses = False
        again = chat(server, tmp_path, retry_refused=True)
        assert again.answer(Query(texts(10))).prediction.tolist() == [1] * 10
        assert chat(server, tmp_path).answer(Query(texts(10))).prediction.tolist() == [1] * 10
        assert len(server.asked) == 12


def test_equal_refusals_in_a_row_stop_with_the_servers_words(tmp_path):
    """Also where they read like refusals of single questions, and come in several batches."""

    def script(asked, number):
        return (200, reply()) if number < 5 else (400, error(f"Flagged by moderation, request {number}"))

    with ScriptedServer(script) as server:
        model = chat(server, tmp_path)
        with pytest.raises(InputError, match=r"in a row were refused, at last: .*Flagged by moderation"):
            for start in range(0, 100, 10):
                model.answer(Query(texts(100)[start : start + 10]))
        assert len(server.asked) < 30 and len(stored(tmp_path)) == 5


def test_refusals_that_say_nothing_stop_soon_and_settle_nothing(tmp_path):
    def script(asked, number):
        return (200, reply()) if number < 20 else (400, error("Bad request"))

    with ScriptedServer(script) as server:
        with pytest.raises(InputError, match=r"refused, at last: .*Bad request"):
            chat(server, tmp_path).answer(Query(texts(80)))
        assert len(server.asked) < 20 + 3 + 2 * 4 and len(stored(tmp_path)) == 20


def test_one_refusal_that_says_nothing_is_asked_again_by_the_next_command(tmp_path):
    def script(asked, number):
        return (400, error("Bad request")) if number == 3 else (200, reply())

    with ScriptedServer(script) as server:
        assert (
            chat(server, tmp_path, concurrency=1).answer(Query(texts(9))).prediction.tolist().count(-2) == 1
        )
        assert chat(server, tmp_path).answer(Query(texts(9))).prediction.tolist() == [1] * 9
        assert len(server.asked) == 10


def test_what_the_question_says_is_not_taken_for_the_servers_words(tmp_path):
    """Servers repeat the question in their errors."""

    def script(asked, number):
        text = asked["messages"][-1]["content"]
        return (
            (400, error(f"content filter: {text!r} is not allowed")) if "credit" in text else (200, reply())
        )

    with ScriptedServer(script) as server:
        asked = ["fine", "the credit balance of my account is too low, insufficient quota", "fine too"]
        assert chat(server, tmp_path).answer(Query(asked)).prediction.tolist() == [1, -2, 1]


@pytest.mark.parametrize("share", [1.0, 0.95])
def test_a_run_of_replies_off_format_is_no_success(tmp_path, share):
    def script(asked, number):
        good = int(asked["messages"][-1]["content"].split()[-1]) % 100 >= 100 * share
        return 200, reply("positive" if good else "It is hard to say.")

    with ScriptedServer(script) as server:
        model = chat(server, tmp_path, format_retries=0)
        with pytest.raises(InputError, match=r"name no class, for instance 'It is hard to say\.'"):
            model.answer(Query(texts(400)))
        assert len(server.asked) < 40
        few = chat(server, tmp_path / "few", format_retries=0)
        assert few.answer(Query(texts(8))).prediction.tolist() == [-2] * 8  # is said at the end
        assert "8 of 8 replies" in few.usage()["problem"]


def test_replies_that_are_cut_off_name_the_option(tmp_path):
    with (
        ScriptedServer(lambda asked, number: (200, reply("<think>Let me", finish="length"))) as server,
        pytest.raises(InputError, match=r"cut off: raise --model\.teacher\.max_tokens"),
    ):
        chat(server, tmp_path, format_retries=0).answer(Query(texts(50)))


def test_alternating_refusals_stop_by_their_share_and_settle_nothing(tmp_path):
    """Two wordings by turns, now and then an answer: no row of equal refusals, no row without an answer."""

    def script(asked, number):
        kind = ("violence", "hate")[number % 2]
        good = number < 20 or number % 8 == 0
        return (200, reply()) if good else (403, error(f"Your input was flagged ({kind})"))

    with ScriptedServer(script) as server:
        with pytest.raises(InputError, match=r"\d+ of \d+ questions were refused, at last: .*was flagged"):
            chat(server, tmp_path).answer(Query(texts(100)))
        assert len(server.asked) < 45 and all('"refused": null' in row for row in stored(tmp_path))


def test_the_last_refusals_are_settled_once_an_answer_came_after_them(tmp_path):
    bad = {f"review {i}" for i in range(27, 30)}

    def script(asked, number):
        wrong = asked["messages"][-1]["content"] in bad
        return (403, error("Your input was flagged (violence)")) if wrong else (200, reply())

    with ScriptedServer(script) as server:
        model = chat(server, tmp_path, concurrency=1)
        assert model.answer(Query(texts(30))).prediction.tolist() == [1] * 27 + [-2] * 3
        assert len(stored(tmp_path)) == 27  # of three and nothing after them it is not known
        assert (
            chat(server, tmp_path, concurrency=1).answer(Query(texts(40))).prediction.tolist()[27:30]
            == [-2] * 3
        )
        assert len(stored(tmp_path)) == 40 and len(server.asked) == 30 + 13


def test_what_was_refused_before_and_is_refused_again_is_no_news(tmp_path):
    def script(asked, number):
        wrong = int(asked["messages"][-1]["content"].split()[-1]) % 5 == 0
        return (403, error("Your input was flagged (violence)")) if wrong else (200, reply())

    with ScriptedServer(script) as server:
        wanted = [-2 if i % 5 == 0 else 1 for i in range(100)]
        assert chat(server, tmp_path).answer(Query(texts(100))).prediction.tolist() == wanted
        again = chat(server, tmp_path, retry_refused=True)
        assert again.answer(Query(texts(100))).prediction.tolist() == wanted
        assert len(server.asked) == 120 and len(stored(tmp_path)) == 100


def test_a_model_that_refuses_the_first_question_is_named_so(tmp_path):
    with (
        ScriptedServer(lambda *_: (200, reply(None, refusal="I can't"))) as server,
        pytest.raises(
            InputError, match=r"has answered no question yet, and refused 1: the model refuses .*I"
        ),
    ):
        chat(server, tmp_path).answer(Query(["x"]))
