"""The words of a server's error, in whatever form it comes."""

import json
import re
from collections.abc import Mapping
from typing import Any

from kcm_lightning.large.chat_errors import NoReply, ServerError
from kcm_lightning.large.reply_json import read_json

_LONGEST = 2_000  # characters of an error that are looked at
_WORDS = ("message", "detail", "msg", "error_message", "error_msg", "reason", "error", "title")


def is_error(body: dict[str, Any]) -> bool:
    """Whether JSON that may have come with a good status is an error."""
    return any(body.get(name) for name in ("error", "errors")) or body.get("object") == "error"


def error_reply(status: int, said: Any, headers: Mapping[str, str]) -> ServerError:
    """An error out of what a server sent.

    Args:
        status: HTTP status.
        said: the text of the body, or the object that was read from it.
        headers: of the reply.
    """
    pause = _pause(headers.get("retry-after"))
    if isinstance(said, str) and said.startswith("<"):
        return ServerError(status, f"a web page, {_title(said[:20_000])!r}", pause=pause, page=True)
    if isinstance(said, str):
        try:
            said = read_json(said)
        except NoReply:
            return ServerError(status, said[:_LONGEST], pause=pause)
    outer = said if isinstance(said, dict) else {"error": said}
    inner = outer.get("error") or outer.get("errors") or outer
    inner = inner[0] if isinstance(inner, list) and inner else inner
    inner = inner if isinstance(inner, dict) else {"message": inner}
    found = next((inner[name] for name in _WORDS if inner.get(name)), inner)
    message = found if isinstance(found, str) else json.dumps(found)
    codes = _codes(outer) + (_codes(inner) if inner is not outer else [])
    if 200 <= status < 300:  # then the object may state another
        status = next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), status)
    field = inner.get("param")
    field = field if isinstance(field, str) else None
    return ServerError(status, message[:_LONGEST], codes=codes, field=field, pause=pause)


def _codes(body: dict[str, Any]) -> list[str]:
    """Names for the error, in small letters."""
    deeper = body.get("innererror")
    codes = [body.get(name) for name in ("code", "type", "status", "error_code")]
    codes += [deeper.get("code")] if isinstance(deeper, dict) else []
    return [str(code).lower() for code in codes if isinstance(code, str | int)]


def _title(page: str) -> str:
    """What a web page calls itself, else its first words."""
    title = re.search(r"<(title|h1)[^>]*>(.{0,500}?)</", page, re.S | re.I)
    return " ".join(re.sub(r"<[^>]*>", " ", title[2] if title else page).split())[:200]


def _pause(header: str | None) -> float | None:
    try:
        return max(0.0, float(header or ""))
    except ValueError:  # not given, or a date
        return None
