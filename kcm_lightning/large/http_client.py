"""Requests to one server, limited in time and size, that never lead to another host."""

import asyncio
import json
import os
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

from kcm_lightning.large.server_url import is_same_host, url_of
from kcm_lightning.utils.errors import InputError

CONNECTING = 10.0  # seconds that it may take to reach the server, at most
LARGEST = 4 * 2**20  # bytes of a reply
_REDIRECTS = 3
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")


@dataclass
class HttpReply:
    """What a server sent back.

    Args:
        status: HTTP status.
        headers: with names in any case.
        body: what it sent, unpacked.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoHttpReply(Exception):
    """A request that has no whole reply.

    Args:
        reason: what happened.
        sent: whether the server may have had the request.
    """

    def __init__(self, reason: str, sent: bool):
        super().__init__(reason)
        self.sent = sent


class HttpClient:
    """The HTTP client of the official package, which minds the proxies of the environment.

    It is to be made and used in one event loop.

    Args:
        base_url: address of the server.
        key: sent as bearer token.
        timeout: seconds that a request may take in all.

    Raises:
        InputError: the environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, base_url: str, key: str, timeout: float):
        import openai

        self.base_url, self.timeout = base_url, timeout
        headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}
        for header, variable in (("Organization", "OPENAI_ORG_ID"), ("Project", "OPENAI_PROJECT_ID")):
            if value := os.environ.get(variable, "").strip():
                if not (value.isascii() and value.isprintable()):
                    raise InputError(
                        f"the environment variable {variable} has characters that no id has (line ends, or "
                        "letters that are not ASCII): mend or unset it"
                    )
                headers[f"OpenAI-{header}"] = value
        try:
            self._http = openai.DefaultAsyncHttpxClient(
                headers=headers,
                timeout=openai.Timeout(timeout, connect=min(CONNECTING, timeout)),
                follow_redirects=False,
            )
        except Exception as error:  # of the HTTP library, which has several names
            raise InputError(_of_the_environment(error)) from None

    async def send(
        self, method: str, page: str, body: dict[str, Any] | None = None, timeout: float | None = None
    ) -> HttpReply:
        """Sends a request, and again where the server asks for it at another address of its own.

        Args:
            method: of HTTP.
            page: what follows the server's address.
            body: sent as JSON.
            timeout: seconds that it may take in all; by default those of the client.

        Raises:
            NoHttpReply: there was no whole reply in time, or it was too large.
            InputError: the server sends the request to another host.
        """
        url, until = url_of(self.base_url, page), time.monotonic() + (timeout or self.timeout)
        for _ in range(_REDIRECTS):
            reply = await self._exchange(method, url, body, until)
            goal = "".join(filter(str.isprintable, reply.headers.get("location", "")))
            if reply.status not in (301, 302, 307, 308) or not goal:
                return reply
            try:
                goal = urljoin(url, goal)
                same = is_same_host(url, goal)
            except ValueError:
                raise InputError(
                    f"{self.base_url} sends requests on to {goal[:200]!r}, which is no address: check "
                    "--model.teacher.base_url"
                ) from None
            if not same:
                raise InputError(
                    f"{self.base_url} sends requests on to {goal[:200]}: the texts are not taken there; if "
                    "that is your server, name it with --model.teacher.base_url"
                )
            url = goal
        raise NoHttpReply("the server sends requests round in a circle", sent=False)

    async def _exchange(self, method: str, url: str, body: dict[str, Any] | None, until: float) -> HttpReply:
        sent = False

        async def note(event: str, info: dict[str, Any]) -> None:
            nonlocal sent
            request: Any = info.get("request")
            if event.endswith("send_request_headers.started") and request.method != b"CONNECT":
                sent = True

        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        options: dict[str, Any] = {"content": content, "headers": headers, "extensions": {"trace": note}}
        seconds = until - time.monotonic()
        try:
            async with asyncio.timeout(seconds), self._http.stream(method, url, **options) as response:
                whole = await _whole(response)
                return HttpReply(response.status_code, response.headers, whole)
        except NoHttpReply as error:
            raise NoHttpReply(str(error), sent) from None
        except TimeoutError:
            raise NoHttpReply(f"no whole reply within {seconds:.3g} seconds", sent) from None
        except Exception as error:  # of the HTTP library, which has several names
            through = None if sent else _proxy_of(url)
            way = "" if through is None else f" through the proxy that {through} names"
            raise NoHttpReply(f"{_in_words(error)}{way}", sent) from None


async def _whole(response: Any) -> bytes:
    """The body of a reply, unpacked."""
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise NoHttpReply(f"the reply is packed as {packing[:40]!r}, which was not asked for", True)
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > LARGEST:
            raise NoHttpReply(f"the reply is larger than {LARGEST // 2**20} MiB", True)
    if packing in ("", "identity"):
        return bytes(body)
    unpacking = zlib.decompressobj(wbits=47)  # finds out itself how it is packed
    try:
        unpacked = unpacking.decompress(bytes(body), LARGEST + 1)
    except zlib.error as error:
        raise NoHttpReply(f"the reply cannot be unpacked: {error}", True) from None
    if len(unpacked) > LARGEST:
        raise NoHttpReply(f"the reply is larger than {LARGEST // 2**20} MiB", True)
    return unpacked


def _in_words(error: Exception) -> str:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def _proxy_of(url: str) -> str | None:
    """The environment variable whose proxy requests to an address go through; None for none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if proxy_bypass_environment(f"{host}:{parts.port}") or proxy_bypass_environment(host):
        return None
    names = (f"{parts.scheme}_proxy", f"{parts.scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    return next((name for name in names if os.environ.get(name)), None)


def _of_the_environment(error: Exception) -> str:
    """What of the environment keeps a client from being made, and what to do."""
    if isinstance(error, OSError):
        named = [name for name in _CERTIFICATES if os.environ.get(name)]
        what, mend = "certificates", "name a file that holds some, or unset it"
    else:
        named = [name for name in (*_PROXIES, *map(str.lower, _PROXIES)) if os.environ.get(name)]
        what, mend = "proxy", "use an http proxy, or unset it"
        if isinstance(error, ImportError):
            mend = "pip install socksio, use an http proxy, or unset it"
    reason = "a SOCKS proxy needs the package socksio" if isinstance(error, ImportError) else str(error)
    where = ", ".join(named) or "the system"
    return f"the {what} of the environment ({where}) cannot be used: {_without_passwords(reason)}: {mend}"


def _without_passwords(reason: str) -> str:
    """Addresses of proxies hold them."""
    for name in (*_PROXIES, *map(str.lower, _PROXIES)):
        if "@" in (value := os.environ.get(name, "")):
            inner = value.rpartition("@")[0].rpartition("/")[2]
            reason = reason.replace(value, name).replace(inner, "***")
    return reason
