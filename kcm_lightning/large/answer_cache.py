"""Answers of a large model on disk, so that nothing is asked twice."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from kcm_lightning.core.predictions import Query
from kcm_lightning.large.answer_table import AnswerTable, Key
from kcm_lightning.large.base import LargeClassifier, LargeModel
from kcm_lightning.large.input_digests import input_digests
from kcm_lightning.utils.errors import InputError


class CachedModel(LargeModel):
    """A large model that answers a question once and from then on reads the answer from disk.

    An SQLite file, one row a question. The key is of contents: the model's identity, the class names in their
    order, the input, and what the hint changed in the prompt; each row has a checksum. A batch is committed
    before it is used, so a crash loses nothing.

    A damaged row is taken out, counted and asked again; of a paid model it stops the command, which asks
    again, and pays, when it is run again.

    Args:
        model: the large model.
        folder: where the file lies; made when missing.
    """

    file: str
    former: str  # the table of earlier versions, whose keys said nothing of the inputs
    model: LargeModel
    keeps_own_answers = True

    def __init__(self, model: LargeModel, folder: str):
        self.model = model
        self.paid, self.uses_hint = model.paid, model.uses_hint
        self._table = AnswerTable(Path(folder) / self.file)
        if count := self._table.rows_of(self.former):
            self._leave_former(count)

    def _leave_former(self, count: int) -> None:
        said = (
            f"{self._table.path} has {count} answers of an earlier version, which did not keep what they are "
            "answers to"
        )
        if self.paid:
            raise InputError(
                f"--model.cache: {said}, and the large model is paid: to buy all anew, give another folder"
            )
        rank_zero_warn(f"{said}: they are not used, and what is needed is asked anew")

    def load(self, class_names: list[str], device: torch.device) -> None:
        self.model.load(class_names, device)
        self._key = hashlib.sha256(json.dumps([self.model.identity, class_names]).encode()).digest()[:16]

    @property
    def identity(self) -> str:
        return self.model.identity

    def prompt_keys(self, query: Query) -> list[bytes]:
        return self.model.prompt_keys(query)

    def check_before_fit(self) -> None:
        self.model.check_before_fit()

    def usage(self) -> dict:
        usage = self.model.usage()
        if not self._table.damaged:
            return usage
        damaged = {"damaged_answers_asked_again": self._table.damaged}
        return usage | {"this_command": usage.get("this_command", {}) | damaged}

    def keys(self, query: Query) -> list[Key]:
        """Digests of input and prompt of each sample."""
        prompts = map(digest, self.model.prompt_keys(query))
        return list(zip(input_digests(query.inputs), prompts, strict=True))

    def stored(self, keys: list[Key]) -> dict[Key, bytes]:
        """What the file has under some keys.

        Raises:
            InputError: a row of a paid model is damaged.
        """
        before = self._table.damaged
        found = self._table.read(self._key, keys)
        if count := self._table.damaged - before:
            said = f"{count} of the answers in {self._table.path} were damaged"
            if self.paid:
                raise InputError(f"{said} and are taken out; the same command asks, and pays, for them again")
            if not before:
                rank_zero_warn(f"{said}: they are asked again")
        return found

    def store(self, values: Mapping[Key, bytes]) -> None:
        """Keeps answers, all or none of them."""
        self._table.write(self._key, values)


class CachedClassifier(CachedModel, LargeClassifier):
    """A large classifier whose distributions are kept on disk."""

    model: LargeClassifier
    file, former = "answers.sqlite", "distributions"

    def distribution(self, query: Query) -> Tensor:
        """Distributions out of the file; what is not there is asked, equal questions once, and stored."""
        if query.sample_ids is None:
            return self.model.distribution(query)
        keys = self.keys(query)
        answers = self.stored(keys)
        if missing := first_rows(keys, answers):
            everything = len(missing) == len(keys)
            asked = query if everything else query.rows(torch.tensor(list(missing.values())))
            fresh = self._checked(self.model.distribution(asked).float(), len(asked))
            values = fresh.cpu().numpy()
            own = {key: value.tobytes() for key, value in zip(missing, values, strict=True)}
            answered = ~np.isnan(values).any(axis=(1, 2))
            self.store({key: own[key] for key, said in zip(missing, answered, strict=True) if said})
            if everything:
                return fresh
            answers |= own
        return self._together([answers[key] for key in keys]).to(query.sample_ids.device)

    def _checked(self, fresh: Tensor, count: int) -> Tensor:
        if fresh.ndim != 3 or fresh.shape[:2] != (count, 1):
            raise InputError(
                f"{type(self.model).__name__}.distribution returned the shape {tuple(fresh.shape)} for "
                f"{count} samples, and not ({count}, 1, classes)"
            )
        return fresh

    def _together(self, rows: list[bytes]) -> Tensor:
        """Stored distributions as one tensor, shape `(B, 1, V)`."""
        if len(set(map(len, rows))) > 1:
            raise InputError(
                f"{self._table.path} has answers of several lengths under one model: the `identity` of "
                f"{type(self.model).__name__} does not tell its variants apart"
            )
        values = np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(rows), 1, -1)
        return torch.from_numpy(values.copy())


def first_rows(keys: list[Key], answers: Mapping[Key, object]) -> dict[Key, int]:
    """Of each key without an answer the first row that has it."""
    rows: dict[Key, int] = {}
    for row, key in enumerate(keys):
        if key not in answers:
            rows.setdefault(key, row)
    return rows


def digest(prompt: bytes) -> bytes:
    """Sixteen bytes that stand for a prompt; none for a plain one."""
    return hashlib.sha256(prompt).digest()[:16] if prompt else b""
