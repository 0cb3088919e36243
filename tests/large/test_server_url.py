"""One identity for one server, however its address is written."""

import hashlib
import json
import sqlite3
from pathlib import Path

import pytest
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Chat
from kcm_lightning.large.server_url import is_same_host, other_spellings, server_url
from kcm_lightning.utils.errors import InputError
from tests.large.scripted_server import ScriptedServer, reply


@pytest.mark.parametrize(
    "spelling",
    [
        "https://api.example.com/v1",
        "https://api.example.com/v1/",
        "https://API.Example.com:443/v1//",
        "HTTPS://api.example.com/v1",
    ],
)
def test_one_spelling(spelling):
    assert server_url(spelling) == "https://api.example.com/v1"


@pytest.mark.parametrize(
    "wrong",
    [
        "http://localhost:abc/v1", "http://localhost:99999/v1", "http://localhost:-1/v1", "http://localhost:0/v1",
        "localhost:8000/v1", "ftp://localhost/v1", "http://", "http://[::1/v1", "http://local host/v1",
        "http://localhost/v1\n", "http://localhost/v1#x", "", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_what_is_no_address_is_a_line(wrong):
    with pytest.raises(InputError, match=r"--model\.teacher\.base_url=.* is no address such as"):
        server_url(wrong)
    if wrong:
        with pytest.raises(InputError):
            Chat("m", wrong)


def test_a_password_is_not_repeated():
    with pytest.raises(InputError) as told:
        server_url("http://user:secret@localhost/v1")
    assert "secret" not in str(told.value)


def test_same_host():
    assert is_same_host("http://a/v1", "http://A:80/x") and is_same_host("http://a/v1", "https://a/v1")
    for other in (
        "https://b/v1",
        "http://a:81/v1",
        "https://a:8443/v1",
        "//b",
        "http://a.b/v1",
        "http://a:x/",
    ):
        assert not is_same_host("http://a/v1", other)
    assert not is_same_host("https://a/v1", "http://a/v1")


def ask(url: str, folder: Path) -> Chat:
    model = Chat("judge-1", url, answers=str(folder / "a.sqlite"), prompt="{text}")
    model.load(["negative", "positive"], torch.device("cpu"))
    assert model.answer(Query(["x", "y"])).prediction.tolist() == [1, 1]
    return model


def test_no_spelling_is_asked_again(tmp_path):
    with ScriptedServer(lambda asked, number: (200, reply())) as server:
        spellings = [server.url, f"{server.url}/", server.url.replace("http", "HTTP")]
        names = {ask(url, tmp_path).identity for url in spellings}
        assert len(server.asked) == 2 and len(names) == 1


@pytest.mark.parametrize("written", ["{}", "{}/"])
def test_replies_that_earlier_versions_stored_are_found(tmp_path, written):
    """They had the address in the key as it was given."""
    with ScriptedServer(lambda asked, number: (200, reply("negative"))) as server:
        url = written.format(server.url)
        model = Chat("judge-1", server.url + "/", answers=str(tmp_path / "a.sqlite"), prompt="{text}")
        model.load(["negative", "positive"], torch.device("cpu"))
        key = [url, "judge-1", 8, {}, model.messages("x", None)]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        with sqlite3.connect(tmp_path / "a.sqlite") as old:
            old.execute(
                "INSERT INTO replies (key, reply, attempts) VALUES (?, ?, 1)",
                (digest, json.dumps({"content": "positive", "probability": 0.8})),
            )
        assert model.answer(Query(["x", "y"])).prediction.tolist() == [1, 0]
        assert server.questions == ["y"]


def test_other_spellings_are_the_standard_port_and_the_slash():
    assert set(other_spellings("http://a/v1/")) == {"http://a/v1/", "http://a:80/v1", "http://a:80/v1/"}
