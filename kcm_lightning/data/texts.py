"""What the data modules of texts share: a tokenizer, texts on disk, batches of token numbers."""

import hashlib
import json
import re
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kcm_lightning.data.base import Batch, DistillSplit, KCMDataModule
from kcm_lightning.data.own_inputs import check_list
from kcm_lightning.data.split_names import positions_of
from kcm_lightning.data.text_store import MAX_LETTERS, TextStore, tokens_of, unknown_token
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import check_path
from kcm_lightning.utils.hugging_face import from_pretrained
from kcm_lightning.utils.tokens import PADDING, is_text

_NO_NAME = re.compile(r"[^\w.-]+")  # what a folder is not to be named by


class TextDataModule(KCMDataModule):
    """Texts with classes, tokenized once into a folder.

    A text's sample id is a hash of it. A subclass says in `recipe` what the folder depends on, makes it in
    `make`, and takes from it what its classes are in `describe`.

    Args:
        tokenizer: hub name or folder of the small model's tokenizer.
        max_tokens: tokens of a text that the small model sees; the rest is cut off.
        test_share: share of the texts that is tested on, a fraction.
        val_share: share of the texts that is validated on, a fraction.
        token_dropout: share of a text's tokens, in [0, 1), that training replaces by the mask token.
        batch_size: training texts a step and process.
        eval_batch_size: texts a step where nothing is trained.
        distill_split: see `KCMDataModule`.
        prepared: folder for the tokenized texts; made on the first run.
    """

    batches: TextStore

    def __init__(
        self,
        tokenizer: str,
        max_tokens: int,
        test_share: float,
        val_share: float,
        token_dropout: float,
        batch_size: int,
        eval_batch_size: int,
        distill_split: DistillSplit,
        prepared: str,
    ):
        super().__init__(batch_size, eval_batch_size, distill_split)
        for option, value in (("test_share", test_share), ("val_share", val_share)):
            if not 0 < value < 1:
                raise InputError(f"--data.{option}={value} must be between 0 and 1")
        if test_share + val_share >= 1 or not 0 <= token_dropout < 1 or max_tokens < 1:
            raise InputError(
                "--data: test_share + val_share and token_dropout must be below 1, max_tokens at least 1"
            )
        check_path("--data.prepared", prepared)
        self.tokenizer_name, self.max_tokens, self.prepared = tokenizer, max_tokens, Path(prepared)
        self.test_share, self.val_share, self.token_dropout = test_share, val_share, token_dropout
        self._tokenizer: Any = None

    @abstractmethod
    def recipe(self) -> list[Any]:
        """All that makes a difference to the folder but the tokenizer; plain values."""

    @abstractmethod
    def make(self, folder: Path) -> None:
        """Reads the files and writes the folder, whole or not at all."""

    @abstractmethod
    def describe(self, facts: dict[str, Any]) -> None:
        """Sets `class_names` and regions, and says what was left out.

        Args:
            facts: what the folder says about itself.
        """

    @property
    def tokenizer(self) -> Any:
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            self._tokenizer = tokenizer = from_pretrained(
                AutoTokenizer, self.tokenizer_name, "--data.tokenizer"
            )
            if not tokenizer.is_fast:
                raise InputError(
                    f"--data.tokenizer: {self.tokenizer_name!r} is no fast tokenizer, which is needed: take "
                    "another, for instance bert-base-uncased"
                )
            if tokenizer.pad_token_id != PADDING:
                raise InputError(
                    f"--data.tokenizer: {self.tokenizer_name!r} does not pad with token 0, as the small "
                    "models read it"
                )
            if self.token_dropout and tokenizer.mask_token_id is None:
                raise InputError(
                    f"--data.token_dropout: {self.tokenizer_name!r} has no mask token; set it to 0"
                )
        return self._tokenizer

    @property
    def vocab_size(self) -> int:  # type: ignore[override]  # known once the tokenizer is
        return len(self.tokenizer)

    def prepare_data(self) -> None:
        """Finds the files, and tokenizes them once."""
        self._prepared()

    def _prepared(self) -> Path:
        folder = self._folder()
        if not (folder / "facts.json").is_file():
            self.make(folder)
        return folder

    def _folder(self) -> Path:
        """Where the tokenized texts are, named by all that makes a difference to them."""
        rules = json.loads(self.tokenizer.backend_tokenizer.to_str())
        rules |= {"truncation": None, "padding": None}  # these are of the last call, not of the tokenizer
        words = hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()
        told_apart = hashlib.sha256(repr([*self.recipe(), self.max_tokens, words]).encode()).hexdigest()
        return self.prepared / f"{_NO_NAME.sub('-', self.title)[:60]}-{told_apart[:16]}"

    def setup(self, stage: str | None = None) -> None:
        if hasattr(self, "batches"):
            return
        self.batches = store = TextStore(self._prepared())
        self.lengths, self.positions = store.lengths, positions_of(store.split)
        self.describe(store.facts)
        train = store.labels[self.positions["train"]]
        self.class_counts = torch.bincount(train, minlength=len(self.class_names))

    def splits(self) -> dict[str, list[int]]:
        return {split: self.batches.keys[positions].tolist() for split, positions in self.positions.items()}

    def labels_of(self, split: str) -> Tensor:
        return self.batches.labels[self.positions[split]]

    def contents(self, split: str) -> Tensor:
        return self.batches.keys[self.positions[split]]  # a text's sample id is the hash of its content

    def fingerprint(self) -> dict:
        result = {}
        for split, positions in self.positions.items():
            rows = torch.stack([self.batches.keys[positions], self.batches.labels[positions]])
            content = hashlib.sha256(rows[:, rows[0].argsort()].numpy().tobytes())
            result[split] = {"samples": len(positions), "sha256": content.hexdigest()[:16]}
        return result

    def view(self, batch: Batch, augment: bool) -> Batch:
        if not augment or not self.token_dropout:
            return batch
        tokens = batch["small"]
        dropped = (torch.rand(tokens.shape, device=tokens.device) < self.token_dropout) & (tokens != PADDING)
        return {**batch, "small": tokens.masked_fill(dropped, self.tokenizer.mask_token_id)}

    def batch_of(self, inputs: Sequence[str]) -> Batch:
        """A batch of texts."""
        check_list(inputs, str, "inputs must be a list of texts")
        for number, text in enumerate(inputs):
            if len(text) > MAX_LETTERS:
                raise InputError(
                    f"text {number} has {len(text):,} characters: at most {MAX_LETTERS:,} are read"
                )
            if not is_text(text):
                raise InputError(f"text {number} holds half of a surrogate pair, which is no character")
        numbers = tokens_of(list(inputs), self.tokenizer, self.max_tokens)
        rows = [torch.tensor(row[: self.max_tokens] or [unknown_token(self.tokenizer)]) for row in numbers]
        return {"large": list(inputs), "small": pad_sequence(rows, batch_first=True, padding_value=PADDING)}
