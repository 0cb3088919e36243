"""A server that speaks the chat protocol truly and can be told to misbehave; nothing here is part of the
project."""

import base64
import io
import json
import math
import random
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image


def right_word(text: str) -> str:
    """What this server's model thinks of a text."""
    return "positive" if sum(text.encode()) % 2 else "negative"


def _image_in(content: list[dict]) -> Image.Image:
    url = next(part["image_url"]["url"] for part in content if part["type"] == "image_url")
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))


def _brightness(image: Image.Image) -> str:
    """What this server's model thinks of an image, and how large it saw it."""
    return "bright" if np.asarray(image.convert("L")).mean() > 127 else "dark"


class ChatServer:
    """Runs in a thread of its own, on a free port of the loopback.

    Args:
        faults: share of the requests that go wrong, by kind: "429", "500", "cut", "hang", "garbage".
        off_format: texts that contain this word are never answered in the asked form.
        odd: what else is odd about it: "no usage", "no content", "no choices", "pieces" (the word in two
            tokens and an end), "too long" (texts that contain `long` are refused).
        logprobs: whether the server has log-probabilities; where not, it refuses requests that ask for them.
        echo_key: whether error messages repeat the key, as some servers do.
        delay: seconds that an answer takes.
        others: tokens that its answers could have begun with, and their probabilities.
    """

    def __init__(
        self,
        faults=None,
        off_format=None,
        logprobs=True,
        echo_key=False,
        delay=0.0,
        always=None,
        odd=None,
        others=None,
    ):
        self.others, self.sizes = others or {}, set()
        self.faults, self.off_format, self.logprobs = faults or {}, off_format, logprobs
        self.echo_key, self.delay, self.always, self.odd = echo_key, delay, always, odd
        self.random, self.lock = random.Random(0), threading.Lock()
        self.requests, self.sent, self.keys = Counter(), Counter(), set()
        handler = type("Handler", (_Handler,), {"owner": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *raised):
        self.http.shutdown()
        self.http.server_close()

    def fault(self) -> str | None:
        if self.always:
            return self.always
        with self.lock:
            draw = self.random.random()
        for kind, share in self.faults.items():
            if draw < share:
                return kind
            draw -= share
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ChatServer

    def log_message(self, *args):
        pass

    def _send(self, status: int, body: dict | bytes, headers=(), cut: bool = False):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(data))),
            *headers,
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    def _error(self, status: int, message: str, headers=()):
        if self.owner.echo_key:
            message += (
                f" {'x' * self.owner.random.randint(0, 330)} (you sent {self.headers['Authorization']})"
            )
        self._send(
            status, {"error": {"message": message, "type": "error", "param": None, "code": None}}, headers
        )

    def do_GET(self):
        if self.headers["Authorization"] == "Bearer wrong":
            return self._error(401, "Incorrect API key provided")
        if self.path == "/v1/models":
            model = {"id": "judge-1", "object": "model", "created": 0, "owned_by": "tests"}
            return self._send(200, {"object": "list", "data": [model]})
        self._error(404, "no such page")

    def do_POST(self):
        owner = self.owner
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            return self._error(404, "no such page")
        if self.headers["Authorization"] == "Bearer wrong":
            return self._error(401, "Incorrect API key provided")
        content = asked["messages"][-1]["content"]
        image = None if isinstance(content, str) else _image_in(content)
        if image:
            owner.sizes.add(image.size)
        text = "image" if image else content.split("\n\n")[-1]
        with owner.lock:
            owner.requests[text] += 1
            owner.keys.add(self.headers["Authorization"])
        if asked["model"] != "judge-1":
            return self._error(404, f"The model {asked['model']} does not exist")
        if asked.get("logprobs") and not owner.logprobs:
            return self._error(400, "logprobs are not supported by this model")
        if owner.odd == "too long" and "long" in text:
            return self._error(400, "This model's maximum context length is 4096 tokens")
        fault = owner.fault()
        if fault == "429":
            return self._error(429, "slow down", [("Retry-After", "0.05")])
        if fault == "500":
            return self._error(500, "the server had an error")
        if fault == "hang":
            time.sleep(3)
            self.close_connection = True
            return None
        time.sleep(owner.delay)
        word = right_word(text) if image is None else _brightness(image)
        if owner.off_format and owner.off_format in text:
            word = f"I would say it is {word}, on the whole"
        token = {"token": word, "logprob": math.log(0.75), "bytes": None, "top_logprobs": []}
        for other, probability in list(owner.others.items())[: asked.get("top_logprobs", 0)]:
            token["top_logprobs"].append({"token": other, "logprob": math.log(probability), "bytes": None})
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": word},
            "logprobs": None,
        }
        if asked.get("logprobs"):
            choice["logprobs"] = {"content": [token], "refusal": None}
        if owner.odd == "pieces":
            pieces = [("▁" + word[:3], 0.8), (word[3:], 0.9), ("</s>", 0.99)]
            token = [
                {"token": piece, "logprob": math.log(p), "bytes": None, "top_logprobs": []}
                for piece, p in pieces
            ]
            choice["logprobs"] = {"content": token, "refusal": None}
        if owner.odd == "no content":
            choice["message"]["content"] = None
        usage = {
            "prompt_tokens": len(text.split()),
            "completion_tokens": 1,
            "total_tokens": len(text.split()) + 1,
        }
        body = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "judge-1",
            "choices": [choice],
            "usage": usage,
        }
        if owner.odd == "no choices":
            body["choices"] = []
        if owner.odd == "no usage":
            del body["usage"]
        if fault == "garbage":
            return self._send(200, b'{"id": "x", "choices": [{"index": 0, "mess')
        with owner.lock:
            owner.sent[text] += 1
        return self._send(200, body, cut=fault == "cut")
