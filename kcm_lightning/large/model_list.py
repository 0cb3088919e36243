"""A server's list of its models: a hint, since it may answer for names that are not in it."""

from kcm_lightning.large.chat_errors import NoReply
from kcm_lightning.large.http_client import HttpReply
from kcm_lightning.large.reply_json import read_json


def names_in_list(reply: HttpReply) -> list[str]:
    """The models that a server lists; none where it has no list.

    Args:
        reply: to the question for its list.
    """
    try:
        body = read_json(reply.body.decode("utf-8", "replace")) if reply.status == 200 else {}
    except NoReply:
        return []
    rows = body.get("data") if isinstance(body, dict) else body
    rows = rows if isinstance(rows, list) else []
    return [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]


def near_names(model: str, names: list[str]) -> list[str]:
    """Names of a list that may stand for a model: itself, `*`, or one with another provider before it.

    Args:
        model: the model's name.
        names: those of the list.
    """
    last = model.rpartition("/")[2]
    return [name for name in names if "*" in name or name.rpartition("/")[2] == last]
