"""Texts on disk as flat arrays, so that a data set larger than memory is read as fast as a small one."""

import json
from array import array
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from kcm_lightning.data.contents import content_id
from kcm_lightning.data.prepared import read_prepared
from kcm_lightning.data.split_names import SPLITS, STRICT, UNLABELLED
from kcm_lightning.utils.strict_json import parse_json

MAX_LETTERS = 500_000  # of a text
_AT_ONCE = 1_000  # texts that are tokenized together,
_LETTERS_AT_ONCE = 500_000  # or letters: the tokenizer takes up to 300 bytes for each
_BEGINNING = 50_000  # letters of a text that are tokenized, if they are enough


def normalized(text: str) -> str:
    """A text without what does not tell two texts apart: case and white space."""
    return " ".join(text.lower().split())


def sample_id_of(text: str) -> int:
    """A text's sample id: 63 bits of its hash."""
    return content_id(text.encode())


class TextStore(Dataset):
    """Batches of texts out of a folder that a `TextWriter` has written.

    Attributes:
        keys: sample ids, shape `(N,)`.
        labels: class numbers, -1 for none, shape `(N,)`.
        split: indices into `SPLITS`, shape `(N,)`.
        lengths: tokens of each text, shape `(N,)`.
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


class TextWriter:
    """Writes a folder for `TextStore`, text by text; a few numbers of each are all that is held in memory.

    Args:
        folder: folder to write, which exists.
        tokenizer: a fast Hugging Face tokenizer.
        max_tokens: tokens that are kept of a text.

    Attributes:
        key: sample ids.
        label: class numbers, -1 for none.
        split: indices into `SPLITS`.
        part: part of the data that each text is of, by number.
    """

    def __init__(self, folder: Path, tokenizer: Any, max_tokens: int):
        self.folder, self.tokenizer, self.max_tokens = folder, tokenizer, max_tokens
        self.key, self.label, self.split, self.part = array("q"), array("q"), array("b"), array("b")
        self._token_end, self._text_end = array("q"), array("q")
        self._seen: dict[int, int] = {}
        self._waiting: list[str] = []
        self._letters = 0  # of those that are waiting
        self._truncated = 0

    def __enter__(self) -> Self:
        self._tokens = (self.folder / "tokens.bin").open("wb")
        self._texts = (self.folder / "texts.bin").open("wb")
        return self

    def __exit__(self, *raised: object) -> None:
        self._tokens.close()
        self._texts.close()

    def add(self, text: str, *, label: int, split: str, part: int) -> int | None:
        """Keeps a text, unless there is one like it, whose split then becomes the stricter of the two.

        So what is tested on is trained on nowhere. A text without a label is of use where none is needed: on
        the training side it goes to the pool, else nowhere.

        Args:
            text: the text.
            label: its class number, -1 for none.
            split: "train", "pool", "val" or "test".
            part: the part of the data that it is of.

        Returns:
            The label of the text that is like it; None where there is none.
        """
        mark = sample_id_of(normalized(text))
        if (row := self._seen.get(mark)) is not None:
            self._move_if_stricter(row, split)
            return self.label[row]
        self._seen[mark] = len(self.key)
        if label == UNLABELLED:
            split = "pool" if split in ("train", "pool") else "unused"
        self.key.append(sample_id_of(text))
        self.label.append(label)
        self.split.append(SPLITS.index(split))
        self.part.append(part)
        self._waiting.append(text)
        self._letters += min(len(text), _BEGINNING)
        if len(self._waiting) == _AT_ONCE or self._letters >= _LETTERS_AT_ONCE:
            self._flush()
        return None

    def _move_if_stricter(self, row: int, split: str) -> None:
        if split != "pool" and STRICT.index(split) < STRICT.index(SPLITS[self.split[row]]):
            self.split[row] = SPLITS.index("unused" if self.label[row] == UNLABELLED else split)

    def _flush(self) -> None:
        if not self._waiting:
            return
        most = self.max_tokens
        for text, tokens in zip(self._waiting, tokens_of(self._waiting, self.tokenizer, most), strict=True):
            self._truncated += len(tokens) > most
            kept = tokens[:most] or [unknown_token(self.tokenizer)]
            self._tokens.write(np.asarray(kept, dtype="<i4").tobytes())
            self._texts.write(text.encode())
            self._token_end.append(self._tokens.tell() // 4)
            self._text_end.append(self._texts.tell())
        self._waiting, self._letters = [], 0

    def table(self) -> dict[str, np.ndarray]:
        """The numbers of each text, as NumPy arrays by name."""
        self._flush()
        self._seen = {}  # the largest part of what was held
        columns = {"key": self.key, "label": self.label, "split": self.split, "part": self.part}
        columns |= {"token_end": self._token_end, "text_end": self._text_end}
        return {name: np.frombuffer(values, dtype=values.typecode) for name, values in columns.items()}

    def write(self, table: dict[str, Any], facts: dict[str, Any]) -> None:
        """Writes the rest of the folder.

        Args:
            table: as `table` returns it, perhaps with other labels and splits.
            facts: what was read and left out; the share of texts that were cut off and the number of those
                that are not used are added.
        """
        facts["truncated"] = self._truncated / max(1, len(table["key"]))
        facts["unused"] = int((table["split"] == SPLITS.index("unused")).sum())
        np.savez(self.folder / "table.npz", **table)
        (self.folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
