"""Amazon product reviews, good or bad (APD)."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn

from kcm_lightning.data.base import DistillSplit
from kcm_lightning.data.download import download
from kcm_lightning.data.review_store import CLASSES, RULES, Recipe, left_out, store_reviews
from kcm_lightning.data.reviews import CATEGORIES, review_file
from kcm_lightning.data.texts import TextDataModule
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import check_path

URL = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/reviews_{category}_5.json.gz"


class APD(TextDataModule):
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
        super().__init__(
            tokenizer=tokenizer,
            max_tokens=max_tokens,
            test_share=test_share,
            val_share=val_share,
            token_dropout=token_dropout,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            distill_split=distill_split,
            prepared=prepared,
        )
        for option, path in (("root", root), ("category", category)):
            check_path(f"--data.{option}", path)
        self.root, self.category, self.download, self.balance = Path(root), category, download, balance

    @property
    def title(self) -> str:
        return f"{self.name}, {self.category}"

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

    def recipe(self) -> list[Any]:
        recipe: list[Any] = [RULES, self.balance, self.test_share, self.val_share]
        for category, path in self._files().items():
            state = path.stat()
            recipe += [category, path.name, state.st_size, state.st_mtime_ns]
        return recipe

    def make(self, folder: Path) -> None:
        recipe = Recipe(self._files(), self.max_tokens, self.test_share, self.val_share, self.balance)
        store_reviews(folder, recipe, self.tokenizer)

    def describe(self, facts: dict[str, Any]) -> None:
        for category, own in facts["categories"].items():
            if words := left_out(own):
                rank_zero_warn(f"{category}: left out: {words}")

    def fingerprint(self) -> dict:
        facts = self.batches.facts
        read = {"truncated": facts["truncated"], "read": facts["categories"], "unused": facts["unused"]}
        return read | super().fingerprint()
