"""Amazon product reviews, good or bad (APD)."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch.nn.utils.rnn import pad_sequence

from kcm_lightning.data.base import Batch, DistillSplit, KCMDataModule
from kcm_lightning.data.download import download
from kcm_lightning.data.own_inputs import check_list
from kcm_lightning.data.review_store import (
    CLASSES,
    RULES,
    SPLITS,
    Recipe,
    ReviewStore,
    left_out,
    tokens_of,
    unknown_token,
)
from kcm_lightning.data.reviews import CATEGORIES, MAX_LINE, review_file
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import check_path
from kcm_lightning.utils.hugging_face import from_pretrained
from kcm_lightning.utils.tokens import PADDING, is_text

URL = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/reviews_{category}_5.json.gz"


class APD(KCMDataModule):
    """Reviews of McAuley's 5-core files: 4 and 5 stars are positive, 1 and 2 negative, 3 left out.

    A review's sample id is a hash of its text. All reviews of a product are on one side of the split; where
    the product is not known, all copies of a text. What balancing leaves out of the training side, and its
    reviews of 3 stars, are the pool: they can be distilled on, since that needs no label. Lines that hold no
    review, or more than 500,000 bytes, are left out, counted and named. Of copies of a text the first
    counts; those that it contradicts (good and bad, or 3 stars) are counted and said.

    Args:
        root: folder with `reviews_<Category>_5.json[.gz]` (2014) or `<Category>_5.json[.gz]` (2018).
        category: category of products, as the file is named; or "all" for the paper's six together.
        download: whether to fetch missing files of the paper's six categories into `root`.
        tokenizer: hub name or folder of the small model's tokenizer.
        max_tokens: tokens of a review that the small model sees; the rest is cut off.
        balance: whether to cut the more frequent class of each split to the size of the other.
        test_share: share of the products (or texts) that is tested on, a fraction.
        val_share: share of the products (or texts) that is validated on, a fraction.
        token_dropout: share of a review's tokens, in [0, 1), that training replaces by the mask token; 0, the
            default, replaces none.
        batch_size: training reviews a step and process.
        eval_batch_size: reviews a step where nothing is trained.
        distill_split: reviews that the student is distilled on: "train", the default; "pool", the unlabeled
            rest of the training side; or "both".
        prepared: folder for the tokenized reviews; made on the first run.
    """

    batches: ReviewStore
    name = "apd"
    class_names: list[str] = list(CLASSES)  # noqa: RUF012  the same for every instance
    regions: dict[str, torch.Tensor] = {"class": torch.arange(2)}  # noqa: RUF012
    region_names: dict[str, tuple[str, ...]] = {"class": CLASSES}  # noqa: RUF012

    def __init__(
        self,
        root: str = "data",
        category: str = "Office_Products",
        download: bool = False,
        tokenizer: str = "bert-base-uncased",
        max_tokens: int = 256,
        balance: bool = True,
        test_share: float = 0.2,
        val_share: float = 0.1,
        token_dropout: float = 0.0,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        distill_split: DistillSplit = "train",
        prepared: str = "runs/prepared",
    ):
        super().__init__(batch_size, eval_batch_size, distill_split)
        for option, value in (("test_share", test_share), ("val_share", val_share)):
            if not 0 < value < 1:
                raise InputError(f"--data.{option}={value} must be between 0 and 1")
        if test_share + val_share >= 1 or not 0 <= token_dropout < 1 or max_tokens < 1:
            raise InputError(
                "--data: test_share + val_share and token_dropout must be below 1, max_tokens at least 1"
            )
        for option, path in (("root", root), ("category", category), ("prepared", prepared)):
            check_path(f"--data.{option}", path)
        self.root, self.category, self.download = Path(root), category, download
        self.tokenizer_name = tokenizer
        self.max_tokens, self.balance, self.prepared = max_tokens, balance, Path(prepared)
        self.test_share, self.val_share, self.token_dropout = test_share, val_share, token_dropout
        self._tokenizer: Any = None

    @property
    def title(self) -> str:
        return f"{self.name}, {self.category}"

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
        """Finds the files, or fetches them if asked to, and tokenizes them once."""
        self._prepared()

    def _prepared(self) -> Path:
        folder = self._folder()
        if not (folder / "facts.json").is_file():
            recipe = Recipe(self._files(), self.max_tokens, self.test_share, self.val_share, self.balance)
            ReviewStore.make(folder, recipe, self.tokenizer)
        return folder

    def _files(self) -> dict[str, Path]:
        wanted = CATEGORIES if self.category == "all" else (self.category,)
        found = {category: review_file(self.root, category) for category in wanted}
        return {category: path or self._fetched(category) for category, path in found.items()}

    def _fetched(self, category: str) -> Path:
        """A file that is not there yet, fetched if that is asked for."""
        if self.download and category in CATEGORIES:
            path = self.root / f"reviews_{category}_5.json.gz"
            download(URL.format(category=category), path)
            return path
        names = [path.name for path in self.root.glob("*_5.json*")]
        here = sorted({name.removeprefix("reviews_").split("_5.json")[0] for name in names})
        raise InputError(
            f"--data.category: there are no reviews of {category!r} in {str(self.root)!r}"
            + (f", only of {', '.join(here)}" if here else "")
            + f"; known are {', '.join(CATEGORIES)} and all; give their folder with --data.root, or "
            "--data.download=true"
        )

    def _folder(self) -> Path:
        """Where the tokenized reviews are, named by all that makes a difference to them."""
        recipe: list = [RULES, self.max_tokens, self.balance, self.test_share, self.val_share]
        for category, path in self._files().items():
            state = path.stat()
            recipe += [category, path.name, state.st_size, state.st_mtime_ns]
        rules = json.loads(self.tokenizer.backend_tokenizer.to_str())
        rules |= {"truncation": None, "padding": None}  # these are of the last call, not of the tokenizer
        words = hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()
        digest = hashlib.sha256(repr([*recipe, words]).encode()).hexdigest()[:16]
        return self.prepared / f"{self.category}-{digest}"

    def setup(self, stage: str | None = None) -> None:
        if hasattr(self, "batches"):
            return
        self.batches = store = ReviewStore(self._prepared())
        self.lengths = store.lengths
        splits = {name: number for number, name in enumerate(SPLITS) if name != "unused"}
        self.positions = {
            name: (store.split == number).nonzero().squeeze(1) for name, number in splits.items()
        }
        self.class_counts = torch.bincount(store.labels[self.positions["train"]], minlength=len(CLASSES))
        for category, facts in store.facts["categories"].items():
            if words := left_out(facts):
                rank_zero_warn(f"{category}: left out: {words}")

    def splits(self) -> dict[str, list[int]]:
        return {split: self.batches.keys[positions].tolist() for split, positions in self.positions.items()}

    def contents(self, split: str) -> torch.Tensor:
        return self.batches.keys[self.positions[split]]  # a review's sample id is the hash of its text

    def fingerprint(self) -> dict:
        facts = self.batches.facts
        result = {"truncated": facts["truncated"], "read": facts["categories"], "unused": facts["unused"]}
        for split, positions in self.positions.items():
            rows = torch.stack([self.batches.keys[positions], self.batches.labels[positions]])
            digest = hashlib.sha256(rows[:, rows[0].argsort()].numpy().tobytes())
            result[split] = {"samples": len(positions), "sha256": digest.hexdigest()[:16]}
        return result

    def view(self, batch: Batch, augment: bool) -> Batch:
        if not augment or not self.token_dropout:
            return batch
        tokens = batch["small"]
        dropped = (torch.rand(tokens.shape, device=tokens.device) < self.token_dropout) & (tokens != PADDING)
        return {**batch, "small": tokens.masked_fill(dropped, self.tokenizer.mask_token_id)}

    def batch_of(self, inputs: Sequence[str]) -> Batch:
        """A batch of texts."""
        check_list(inputs, str, "reviews must be a list of texts")
        for number, text in enumerate(inputs):
            if len(text) > MAX_LINE:
                raise InputError(f"text {number} has {len(text):,} characters: at most {MAX_LINE:,} are read")
            if not is_text(text):
                raise InputError(f"text {number} holds half of a surrogate pair, which is no character")
        numbers = tokens_of(list(inputs), self.tokenizer, self.max_tokens)
        rows = [torch.tensor(row[: self.max_tokens] or [unknown_token(self.tokenizer)]) for row in numbers]
        return {"large": list(inputs), "small": pad_sequence(rows, batch_first=True, padding_value=PADDING)}
