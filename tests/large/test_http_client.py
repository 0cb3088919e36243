"""Limits of a request: time, size, and where it goes."""

import asyncio
import gzip
import os
import resource
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import Chat
from kcm_lightning.large.http_client import HttpClient, NoHttpReply
from kcm_lightning.utils.errors import InputError
from tests.large.scripted_server import ScriptedServer, reply

CLASSES = ["negative", "positive"]


def ask(server: ScriptedServer, folder: Path, **options) -> list[int]:
    settings = {"timeout": 5.0, "prompt": "{text}", "retries": 0, **options}
    model = Chat("judge-1", server.url, answers=str(folder / "a.sqlite"), **settings)
    model.load(CLASSES, torch.device("cpu"))
    return model.answer(Query(["x"])).prediction.tolist()


def test_a_byte_now_and_then_does_not_hold_a_command(tmp_path):
    """Each byte comes in time; the whole does not."""

    def slow():
        while True:
            time.sleep(0.1)
            yield b" "

    with ScriptedServer(lambda asked, number: (200, slow())) as server:
        start = time.monotonic()
        with pytest.raises(InputError, match=r"no whole reply within 1 seconds"):
            ask(server, tmp_path, timeout=1.0)
        assert time.monotonic() - start < 4


def test_a_server_that_takes_the_connection_and_says_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        model = Chat(
            "judge-1", f"http://127.0.0.1:{silent.getsockname()[1]}/v1", timeout=0.5, retries=0,
            answers=str(tmp_path / "a.sqlite"),
        )  # fmt: skip
        model.load(CLASSES, torch.device("cpu"))
        start = time.monotonic()
        with pytest.raises(InputError, match=r"gave no answer in 1 requests.*within 0\.5 seconds"):
            model.answer(Query(["x"]))
        assert time.monotonic() - start < 4


@pytest.mark.parametrize("packed", [False, True])
def test_a_reply_of_300_mb_is_dropped_before_it_is_read(tmp_path, packed):
    sent = 0

    def much():
        nonlocal sent
        piece = b" " * 2**20
        for _ in range(300):
            yield piece
            sent += len(piece)

    body = gzip.compress(b" " * 300 * 2**20) if packed else None
    headers = {"Content-Encoding": "gzip"} if packed else {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        ScriptedServer(lambda asked, number: (200, body or much(), headers)) as server,
        pytest.raises(InputError, match="larger than 4 MiB"),
    ):
        ask(server, tmp_path, timeout=30.0)
    assert sent < 50 * 2**20  # what fits between the two ends
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


def test_an_unknown_or_broken_packing_is_a_line(tmp_path):
    for packing, words in (("br", "packed as 'br'"), ("gzip", "cannot be unpacked")):
        answer = (200, b"xx", {"Content-Encoding": packing})
        with (
            ScriptedServer(lambda asked, number, answer=answer: answer) as server,
            pytest.raises(InputError, match=words),
        ):
            ask(server, tmp_path)


def test_texts_are_taken_to_no_other_host(tmp_path):
    with ScriptedServer(lambda asked, number: (200, reply())) as other:
        for status in (301, 302, 307, 308):
            answer = (status, "", {"Location": f"{other.url}/chat/completions"})
            with (
                ScriptedServer(lambda asked, number, answer=answer: answer) as server,
                pytest.raises(InputError, match=r"sends requests on to http://.*not taken there"),
            ):
                ask(server, tmp_path)
        assert not other.asked


def test_a_server_may_send_requests_on_within_itself(tmp_path):
    def script(asked, number):
        return (307, "", {"Location": "/v1/chat/completions/"}) if number == 0 else (200, reply())

    with ScriptedServer(script) as server:
        assert ask(server, tmp_path) == [1]
        assert server.paths == ["/v1/chat/completions", "/v1/chat/completions/"]
    with ScriptedServer(lambda asked, number: (307, "", {"Location": "/v1/chat/completions"})) as server:
        with pytest.raises(InputError, match="in a circle"):
            ask(server, tmp_path)
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ALL_PROXY", "socks5://user:secret@127.0.0.1:1", r"ALL_PROXY.*socksio"),
        ("HTTPS_PROXY", "ftp://127.0.0.1:1", "proxy.*HTTPS_PROXY"),
        ("ALL_PROXY", "http://user:secret@:x", r"proxy.*ALL_PROXY"),
        ("OPENAI_ORG_ID", "é", r"variable OPENAI_ORG_ID has characters"),
        ("OPENAI_PROJECT_ID", "a\nb", r"variable OPENAI_PROJECT_ID has characters"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", r"certificates.*SSL_CERT_FILE"),
    ],
)
def test_a_proxy_or_certificates_that_cannot_be_used_are_a_line(
    tmp_path, monkeypatch, variable, value, words
):
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv(variable, value)
    with ScriptedServer(lambda asked, number: (200, reply())) as server:
        with pytest.raises(InputError, match=words) as told:
            ask(server, tmp_path)
        assert not server.asked
    assert "secret" not in str(told.value) and "\n" not in str(told.value)


def test_a_proxy_that_does_not_answer_is_named(tmp_path, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTP_PROXY", f"http://user:secret@127.0.0.1:{unused.getsockname()[1]}")
        with ScriptedServer(lambda asked, number: (200, reply())) as server:
            with pytest.raises(
                InputError, match=r"the proxy that HTTP_PROXY names: check .*that proxy"
            ) as told:
                ask(server, tmp_path)
            assert "secret" not in str(told.value)
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            assert ask(server, tmp_path) == [1]


@pytest.mark.parametrize("goal", ["http://[::1", "http://127.0.0.1:99999/", "http://\x1b[31m[::1"])
def test_a_redirect_to_no_address_is_a_line(tmp_path, goal):
    with ScriptedServer(lambda asked, number: (307, "", {"Location": goal})) as server:
        with pytest.raises(InputError, match="sends requests on to") as told:
            ask(server, tmp_path)
        assert len(server.asked) == 1 and str(told.value).isprintable()


def test_a_signal_while_the_list_of_models_hangs_ends_at_once(tmp_path):
    with ScriptedServer(lambda asked, number: (200, reply())) as server:

        def hang(handler):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(3)

        server.http.RequestHandlerClass.do_GET = hang
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            start = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                ask(server, tmp_path)
            assert time.monotonic() - start < 2.5 and not server.asked
        finally:
            signal.signal(signal.SIGINT, before)


def test_a_host_that_does_not_take_connections_is_given_up_soon():
    """The backlog of a listening socket is full, so that connections hang."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address, waiting = full.getsockname(), [socket.socket() for _ in range(4)]
        for one in waiting:
            threading.Thread(target=one.connect_ex, args=(address,), daemon=True).start()
        time.sleep(0.2)

        async def send() -> None:
            client = HttpClient(f"http://127.0.0.1:{address[1]}/v1", "key", timeout=0.5)
            with pytest.raises(NoHttpReply) as told:
                await client.send("GET", "models")
            assert not told.value.sent

        start = time.monotonic()
        asyncio.run(send())
        assert time.monotonic() - start < 3
        for one in waiting:
            one.close()
