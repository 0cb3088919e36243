"""The words of a server's error, in whatever form it comes."""

import json
import re
from collections.abc import Mapping
from typing import Any

from kcm_lightning.large.chat_errors import NoReply, ServerError
from kcm_lightning.large.reply_json import read_json

_LONGEST = 2_000  # characters of an error that are looked at
_WORDS = ("message", "detail", "msg", "error_message", "error_msg", "reason", "error", "title", "status_msg")
_ALL_IS_WELL = ("", "ok", "success", "none", "null", "false", "no error")


def is_error(body: dict[str, Any], *, answered: bool = False) -> bool:
    """Whether JSON that may have come with a good status is an error.

    Args:
        body: the JSON.
        answered: whether it has the words of a reply as well: then what it lists as `errors` are warnings.
    """
    said = _says_something(body.get("error")) or _says_something(body.get("base_resp"))
    listed = bool(body.get("errors")) and not answered
    return said or listed or body.get("object") == "error"


def _says_something(error: Any) -> bool:
    """Whether the value of a field for errors is one; some servers say there that all is well."""
    if isinstance(error, dict):
        codes = [error[name] for name in ("code", "status_code") if error.get(name) is not None]
        words = next((error[name] for name in _WORDS if error.get(name)), "")
        well = str(words).strip().lower() in _ALL_IS_WELL
        if codes:
            return not (all(str(code).lower() in ("0", "200", *_ALL_IS_WELL) for code in codes) and well)
        return bool(error) and not (well and words)
    return str(error or "").strip().lower() not in ("0", *_ALL_IS_WELL)


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
    fields = ("error", "errors", "base_resp")
    inner = next((outer[name] for name in fields if _says_something(outer.get(name))), outer)
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
    codes = [body.get(name) for name in ("code", "type", "status", "error_code", "status_code")]
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
