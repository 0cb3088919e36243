"""Review files made a folder of texts, labeled and parted into splits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kcm_lightning.data.prepared import written_whole
from kcm_lightning.data.reviews import MAX_LINE, Review, Skipped, read_reviews, side_of
from kcm_lightning.data.split_names import SPLITS, UNLABELLED
from kcm_lightning.data.text_store import TextWriter
from kcm_lightning.utils.errors import InputError

CLASSES = ("negative", "positive")
RULES = 4  # a folder that was made when reviews were read by other rules is not used


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


def store_reviews(folder: Path, recipe: Recipe, tokenizer: Any) -> None:
    """Reads the files once, as a stream, and writes a folder for `TextStore` whole or not at all.

    Args:
        folder: folder to write.
        recipe: what to make of which files.
        tokenizer: a fast Hugging Face tokenizer.

    Raises:
        InputError: a file is damaged, or a class is missing.
    """
    with written_whole(folder) as partial, TextWriter(partial, tokenizer, recipe.max_tokens) as writer:
        facts = {
            category: _read(writer, number, path, recipe)
            for number, (category, path) in enumerate(recipe.files.items())
        }
        table = writer.table()
        if recipe.balance:
            _balance(table)
        _check_classes(table, facts)
        writer.write(table, {"categories": facts})


def _read(writer: TextWriter, category: int, path: Path, recipe: Recipe) -> dict[str, Any]:
    """Hands the reviews of a file on, and says what was left out."""
    skipped, copies, contradicting = Skipped(), 0, 0
    for review in read_reviews(path, skipped):
        label, side = _label_of(review), side_of(review, recipe.test_share, recipe.val_share)
        earlier = writer.add(review.text, label=label, split=side, part=category)
        copies += earlier is not None
        contradicting += earlier not in (None, label)
    return {
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


def _label_of(review: Review) -> int:
    return UNLABELLED if review.stars == 3 else int(review.stars > 3)


def _check_classes(table: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    for category, name in enumerate(facts):
        for split in ("train", "val", "test"):
            rows = (table["part"] == category) & (table["split"] == SPLITS.index(split))
            for label, word in enumerate(CLASSES):
                if not (table["label"][rows] == label).any():
                    raise InputError(
                        f"{name} has no {word} review in its {split} split: two classes are needed "
                        f"(left out: {left_out(facts[name]) or 'nothing'})"
                    )


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
    for category in np.unique(table["part"]):
        for split in ("train", "val", "test"):
            own = (table["part"] == category) & (table["split"] == SPLITS.index(split))
            classes = [np.flatnonzero(own & (table["label"] == label)) for label in range(len(CLASSES))]
            size = min(len(rows) for rows in classes)
            for rows in classes:
                over = rows[table["key"][rows].argsort(kind="stable")[size:]]
                table["split"][over] = SPLITS.index("pool" if split == "train" else "unused")
