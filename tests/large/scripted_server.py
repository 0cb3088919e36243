"""A chat server that answers each request as a function says; nothing here is part of the project."""

import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class ScriptedServer:
    """Runs in a thread of its own, on a free port of the loopback.

    Args:
        script: from the body of a request and its number (0 for the first) to status, body and headers. A
            body that is a dict is sent as JSON, an iterable of bytes piece by piece without a length.
        models: the same for the list of models; by default there is none.
    """

    def __init__(self, script: Callable[[dict, int], Answer], models: Answer = (404, {"detail": "no list"})):
        self.script, self.models = script, models
        self.asked: list[dict] = []
        self.paths: list[str] = []
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"

    def __enter__(self) -> "ScriptedServer":
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.http.shutdown()
        self.http.server_close()

    @property
    def questions(self) -> list[str]:
        """The last message of each request."""
        return [body["messages"][-1]["content"] for body in self.asked]


class _Handler(BaseHTTPRequestHandler):
    owner: ScriptedServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(*self.owner.models)

    def do_POST(self) -> None:
        owner = self.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with owner.lock:
            number = len(owner.asked)
            owner.asked.append(body)
            owner.paths.append(self.path)
        self._send(*owner.script(body, number))

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        kind = "application/json" if isinstance(body, dict) else "text/plain"
        pieces: Iterable[bytes] = body
        if isinstance(body, dict | list):
            pieces = [json.dumps(body).encode()]
        elif isinstance(body, str | bytes):
            pieces = [body.encode() if isinstance(body, str) else body]
        try:
            self.send_response(status)
            for name, value in ({"Content-Type": kind} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            for piece in pieces:
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            pass  # the client has gone


def reply(content: Any = "positive", *, finish: str = "stop", usage: Any = (9, 1), **message: Any) -> dict:
    """The body of a usual reply, with the given words."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content} | message,
        "finish_reason": finish,
    }
    body: dict = {"id": "x", "object": "chat.completion", "choices": [choice]}
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return body


def error(message: str, **more: Any) -> dict:
    """The body of an error, as OpenAI's server forms it."""
    return {"error": {"message": message, "type": None, "param": None, "code": None} | more}
