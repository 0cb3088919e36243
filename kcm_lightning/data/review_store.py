"""Reviews on disk as flat arrays, so that a data set larger than memory is read as fast as a small one."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from kcm_lightning.data.prepared import read_prepared, written_whole
from kcm_lightning.data.reviews import (
    MAX_LINE,
    Review,
    Skipped,
    normalized,
    read_reviews,
    sample_id_of,
    side_of,
)
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.strict_json import parse_json

CLASSES = ("negative", "positive")
SPLITS = ("unused", "train", "pool", "val", "test")
UNLABELLED = -1
RULES = 3  # a folder that was made when reviews were read by other rules is not used
_AT_ONCE = 1_000  # reviews that are tokenized together,
_LETTERS_AT_ONCE = 500_000  # or letters: the tokenizer takes up to 300 bytes for each
_BEGINNING = 50_000  # letters of a text that are tokenized, if they are enough


@dataclass
class Recipe:
    """What is made of review files.

    Args:
        files: file of each category.
        max_tokens: tokens after which a review is cut off.
        test_share: share of the products or texts that is tested on.
        val_share: share of the products or texts that is validated on.
        balance: whether each class of each split of a category is cut to the size of the smaller one.
    """

    files: dict[str, Path]
    max_tokens: int
    test_share: float
    val_share: float
    balance: bool


class ReviewStore(Dataset):
    """Batches of reviews out of a folder that `ReviewStore.make` has written.

    Attributes:
        keys: sample ids, shape `(N,)`.
        labels: 0 negative, 1 positive, -1 not used, shape `(N,)`.
        split: indices into `SPLITS`, shape `(N,)`.
        lengths: tokens of each review, shape `(N,)`.
        facts: what was read and left out.

    Raises:
        InputError: the folder is damaged.
    """

    def __init__(self, folder: Path):
        with read_prepared(folder):
            table = np.load(folder / "table.npz")
            self.keys, self.labels, self.split = (
                torch.from_numpy(table[name].astype(np.int64)) for name in ("key", "label", "split")
            )
            self._token_ends, self._text_ends = table["token_end"], table["text_end"]
            self.lengths = torch.from_numpy(np.diff(self._token_ends, prepend=0))
            self._tokens = np.memmap(folder / "tokens.bin", dtype="<i4", mode="r")
            self._texts = np.memmap(folder / "texts.bin", dtype=np.uint8, mode="r")
            self.facts = parse_json((folder / "facts.json").read_bytes())
            if len(self._tokens) != self._token_ends[-1] or len(self._texts) != self._text_ends[-1]:
                raise ValueError("tokens or texts have another length than the table says")

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, positions: Tensor) -> dict:
        return {
            "small": self.tokens(positions),
            "large": self.texts(positions),
            "target": self.labels[positions],
            "index": self.keys[positions],
        }

    def tokens(self, positions: Tensor) -> Tensor:
        """Token numbers, padded with 0 to the longest, shape `(B, T)`."""
        lengths = self.lengths[positions].numpy()
        steps = np.arange(lengths.max())
        inside = steps < lengths[:, None]
        starts = self._token_ends[positions.numpy()] - lengths
        places = np.where(inside, starts[:, None] + steps, 0)
        return torch.from_numpy(np.where(inside, self._tokens[places], 0).astype(np.int64))

    def texts(self, positions: Tensor) -> list[str]:
        ends = self._text_ends
        bounds = [(ends[p - 1] if p else 0, ends[p]) for p in positions.tolist()]
        return [self._texts[start:end].tobytes().decode() for start, end in bounds]

    @staticmethod
    def make(folder: Path, recipe: Recipe, tokenizer: Any) -> None:
        """Reads the files once, as a stream, and writes the folder whole or not at all.

        Args:
            folder: folder to write.
            recipe: what to make of which files.
            tokenizer: a fast Hugging Face tokenizer.

        Raises:
            InputError: a file is damaged, or a class is missing.
        """
        with written_whole(folder) as partial, _Writer(partial, recipe, tokenizer) as writer:
            for category, path in recipe.files.items():
                writer.read(category, path)
            writer.finish()


@dataclass
class _Rows:
    """A few numbers for each review, the only part of it that is held in memory."""

    key: list[int] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    split: list[int] = field(default_factory=list)
    category: list[int] = field(default_factory=list)
    token_end: list[int] = field(default_factory=list)
    text_end: list[int] = field(default_factory=list)


def unknown_token(tokenizer: Any) -> int:
    """What stands for a text without tokens; never the padding."""
    return tokenizer.unk_token_id or 1


def tokens_of(texts: list[str], tokenizer: Any, most: int) -> list[list[int]]:
    """Token numbers of texts; of a very long one not all, but more than `most`.

    A tokenizer reads to the end what is cut off afterwards, which of a text of half a megabyte takes 150 MB.

    Args:
        texts: the texts.
        tokenizer: a fast Hugging Face tokenizer.
        most: tokens that are kept of a text.
    """
    options = {"add_special_tokens": False, "verbose": False}
    size = max(_BEGINNING, 40 * most)  # letters
    found = tokenizer([text[:size] for text in texts], **options)["input_ids"]
    for place, text in enumerate(texts):
        # the last word that was read may be half a word, or have no end
        if len(text) > size and len(found[place]) <= 2 * most:
            found[place] = tokenizer(text, **options)["input_ids"]
    return found


class _Writer:
    def __init__(self, folder: Path, recipe: Recipe, tokenizer: Any):
        self.folder, self.recipe, self.tokenizer = folder, recipe, tokenizer
        self.rows = _Rows()
        self.seen: dict[int, int] = {}
        self.waiting: list[str] = []
        self.letters = 0  # of those that are waiting
        self.facts: dict[str, Any] = {"categories": {}, "truncated": 0}

    def __enter__(self) -> Self:
        self.tokens, self.texts = (
            (self.folder / "tokens.bin").open("wb"),
            (self.folder / "texts.bin").open("wb"),
        )
        return self

    def __exit__(self, *raised: object) -> None:
        self.tokens.close()
        self.texts.close()

    def read(self, category: str, path: Path) -> None:
        skipped, copies, contradicting = Skipped(), 0, 0
        number = len(self.facts["categories"])
        for review in read_reviews(path, skipped):
            mark = sample_id_of(normalized(review.text))
            side = side_of(review, self.recipe.test_share, self.recipe.val_share)
            if mark in self.seen:
                copies += 1
                contradicting += self.rows.label[self.seen[mark]] != _label_of(review)
                self._move_if_tested(self.seen[mark], side)
                continue
            self.seen[mark] = len(self.rows.key)
            self._note(review, number, side)
        self._flush()
        self.facts["categories"][category] = {
            "lines": skipped.read,
            "broken_lines": len(skipped.broken),
            "first_broken_lines": skipped.broken[:10],
            "too_long_lines": len(skipped.too_long),
            "first_too_long_lines": skipped.too_long[:10],
            "blank_lines": skipped.blank,
            "without_text_or_stars": skipped.empty,
            "copies": copies,
            "contradicting_copies": contradicting,
        }

    def _move_if_tested(self, row: int, side: str) -> None:
        """Moves a text of two products to the stricter side: what is tested on is trained on nowhere."""
        strict = ("unused", "test", "val", "pool", "train")
        own = SPLITS[self.rows.split[row]]
        if strict.index(side) < strict.index(own):
            self.rows.split[row] = SPLITS.index("unused" if self.rows.label[row] == UNLABELLED else side)

    def _note(self, review: Review, category: int, side: str) -> None:
        label = _label_of(review)
        if label == UNLABELLED:  # neither good nor bad: only what needs no label can use it
            side = "pool" if side == "train" else "unused"
        rows = self.rows
        rows.key.append(sample_id_of(review.text))
        rows.label.append(label)
        rows.split.append(SPLITS.index(side))
        rows.category.append(category)
        self.waiting.append(review.text)
        self.letters += min(len(review.text), _BEGINNING)
        if len(self.waiting) == _AT_ONCE or self.letters >= _LETTERS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if not self.waiting:
            return
        most = self.recipe.max_tokens
        for text, tokens in zip(self.waiting, tokens_of(self.waiting, self.tokenizer, most), strict=True):
            self.facts["truncated"] += len(tokens) > most
            kept = tokens[:most] or [unknown_token(self.tokenizer)]
            self.tokens.write(np.asarray(kept, dtype="<i4").tobytes())
            self.texts.write(text.encode())
            self.rows.token_end.append(self.tokens.tell() // 4)
            self.rows.text_end.append(self.texts.tell())
        self.waiting, self.letters = [], 0

    def finish(self) -> None:
        types = {"label": np.int8, "split": np.int8, "category": np.int8}
        table: dict[str, Any] = {  # arrays; `savez` takes them beside options of its own
            name: np.array(values, dtype=types.get(name, np.int64))
            for name, values in vars(self.rows).items()
        }
        if self.recipe.balance:
            _balance(table)
        self.facts["truncated"] /= max(1, len(table["key"]))
        self.facts["unused"] = int((table["split"] == SPLITS.index("unused")).sum())
        for category, name in enumerate(self.recipe.files):
            for split in ("train", "val", "test"):
                rows = (table["category"] == category) & (table["split"] == SPLITS.index(split))
                for label, word in enumerate(CLASSES):
                    if not (table["label"][rows] == label).any():
                        raise InputError(
                            f"{name} has no {word} review in its {split} split: two classes are needed "
                            f"(left out: {left_out(self.facts['categories'][name]) or 'nothing'})"
                        )
        np.savez(self.folder / "table.npz", **table)
        (self.folder / "facts.json").write_text(json.dumps(self.facts))


def _label_of(review: Review) -> int:
    return UNLABELLED if review.stars == 3 else int(review.stars > 3)


_LEFT_OUT = {"broken": "lines that are no JSON object", "too_long": f"lines over {MAX_LINE:,} bytes"}


def left_out(facts: dict[str, Any]) -> str:
    """What of a category's lines is no review, in words; nothing where all are."""
    parts = []
    for name, what in _LEFT_OUT.items():
        if count := facts[f"{name}_lines"]:
            first = ", ".join(map(str, facts[f"first_{name}_lines"]))
            parts.append(f"{count} {what} ({first}{', ...' if count > 10 else ''})")
    if count := facts["without_text_or_stars"]:
        parts.append(f"{count} lines without text or a whole number of stars from 1 to 5")
    if count := facts["contradicting_copies"]:
        parts.append(f"{count} copies of a review with another rating than the first, which counts")
    return "; ".join(parts)


def _balance(table: dict[str, np.ndarray]) -> None:
    """Cuts the larger class of each split of each category to the size of the smaller one.

    What the training split loses goes to the pool.

    Which ones: those with the highest numbers, that is, by a hash of their text.
    """
    for category in np.unique(table["category"]):
        for split in ("train", "val", "test"):
            own = (table["category"] == category) & (table["split"] == SPLITS.index(split))
            classes = [np.flatnonzero(own & (table["label"] == label)) for label in range(len(CLASSES))]
            size = min(len(rows) for rows in classes)
            for rows in classes:
                over = rows[table["key"][rows].argsort(kind="stable")[size:]]
                table["split"][over] = SPLITS.index("pool" if split == "train" else "unused")
