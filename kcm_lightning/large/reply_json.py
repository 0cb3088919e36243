"""JSON that a server sent, of a limited depth."""

import json
import re
from typing import Any

from kcm_lightning.large.chat_errors import NoReply

DEEPEST = 64  # levels of brackets
_STRING = re.compile(r'"(?:[^"\\]++|\\.?)*+(?:"|\Z)', re.S)  # to the end of the text where none closes it


def read_json(text: str) -> Any:
    """What a JSON text says.

    Args:
        text: as the server sent it.

    Raises:
        NoReply: it is no JSON, or nested deeper than 64 levels.
    """
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            raise NoReply(f"the reply is nested deeper than {DEEPEST} levels", billed=True)
    try:
        return json.loads(text)
    except ValueError as error:
        raise NoReply(f"the reply is no JSON ({error}): {text[:80]!r}", billed=True) from None
