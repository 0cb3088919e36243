"""Labels as they stand in a file become class numbers, and each split is checked for its classes."""

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from kcm_lightning.data.split_names import SPLITS, STRICT, UNLABELLED
from kcm_lightning.utils.class_names import shortened
from kcm_lightning.utils.errors import InputError

LEFT_OUT_SHOWN = 10  # numbers of rows that are named
_NUMBER = re.compile(r"-?\d+")
_MOST_CLASSES = 100_000


class ClassNumbers:
    """Numbers of class names in the order in which they turn up.

    Attributes:
        numbers: by name.
    """

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def of(self, label: Any) -> int:
        """The number of a label as a file has it; -1 for one that is empty.

        >>> numbers = ClassNumbers()
        >>> numbers.of("cat"), numbers.of(3), numbers.of(" "), numbers.of(None), numbers.of(3.0)
        (0, 1, -1, -1, 1)
        """
        if isinstance(label, float):
            label = None if label != label else int(label) if label.is_integer() else label
        name = "" if label is None else str(label).strip()
        if not name:
            return UNLABELLED
        number = self.numbers.setdefault(name, len(self.numbers))
        if number == _MOST_CLASSES:
            raise InputError(
                f"more than {_MOST_CLASSES:,} different labels, {name!r} for one: --data.label is perhaps "
                "the column of something else"
            )
        return number


def in_order(names: Iterable[str]) -> list[str]:
    """Class names by number where all are whole numbers, else by letter.

    >>> in_order(["10", "9", "-1"]), in_order(["b", "10", "9"])
    (['-1', '9', '10'], ['10', '9', 'b'])
    """
    names = list(names)
    if all(_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=int)
    return sorted(names)


def check_and_name(table: dict[str, np.ndarray], numbers: ClassNumbers, *, by_seed: bool) -> list[str]:
    """Puts the classes into their order, and refuses splits that nothing can be learned or measured on.

    Args:
        table: `label` and `split` of each sample, which are changed.
        numbers: what `label` stands for.
        by_seed: whether each sample's side was drawn for itself. Then a class that was left nothing to train
            on is trained on instead.

    Returns:
        The class names, in the order of the new labels.

    Raises:
        InputError: there are not two classes, a split is empty, or has a class that is not trained on.
    """
    found = list(numbers.numbers)
    if len(found) < 2:
        only = f"the only label is {found[0]!r}" if found else "no row has a label"
        raise InputError(f"--data.label: two classes are needed, and {only}")
    names = in_order(found)
    place = {name: number for number, name in enumerate(names)}
    new = np.array([*(place[name] for name in found), UNLABELLED])  # -1 is the last one
    table["label"] = new[table["label"]]
    untrained = np.setdiff1d(_labels(table, "val", "test"), _labels(table, "train"))
    if by_seed:
        rows = np.isin(table["label"], untrained) & (table["split"] != SPLITS.index("unused"))
        table["split"][rows] = SPLITS.index("train")
    elif len(untrained):
        raise InputError(_untrained(table, [names[label] for label in untrained], untrained))
    for split in ("train", "val", "test"):
        if not len(_labels(table, split)):
            raise InputError(f"the {split} split is empty: give more data, or another share or seed for it")
    if missing := sorted(set(range(len(names))) - set(_labels(table, "val").tolist())):
        rank_zero_warn(
            f"{len(missing)} classes are not in the validation split "
            f"({shortened([names[label] for label in missing])}): thresholds are chosen without them"
        )
    return names


def _labels(table: dict[str, np.ndarray], *splits: str) -> np.ndarray:
    """The different labels of some splits."""
    rows = np.isin(table["split"], [SPLITS.index(split) for split in splits])
    return np.unique(table["label"][rows])


def _untrained(table: dict[str, np.ndarray], names: list[str], labels: np.ndarray) -> str:
    where = " and ".join(split for split in ("val", "test") if np.isin(labels, _labels(table, split)).any())
    return (
        f"--data.label: {len(names)} classes have nothing to train on, only the {where} split has them "
        f"({shortened(names)}): is a name spelled in two ways? Else add training samples of them, leave them "
        "out, or part the data by another --data.split_seed"
    )


def strictest_of_copies(table: dict[str, np.ndarray], contents: np.ndarray) -> tuple[int, int]:
    """Leaves of equal samples the first one, on the strictest side of all of them.

    Args:
        table: `label` and `split` of each sample, which are changed.
        contents: what is equal of equal samples, shape `(N,)`.

    Returns:
        How many go, and how many of these have another label than the first one.
    """
    used = np.flatnonzero(table["split"] != SPLITS.index("unused"))
    _, first, group = np.unique(contents[used], return_index=True, return_inverse=True)
    if len(first) == len(used):
        return 0, 0
    rank = np.array([STRICT.index(split) for split in SPLITS])[table["split"][used]]
    rank[(table["label"][used] == UNLABELLED) & (rank == STRICT.index("pool"))] = len(STRICT)  # moves none
    strictest = np.full(len(first), len(STRICT) + 1)
    np.minimum.at(strictest, group, rank)
    kept, labels = used[first], table["label"][used]
    contradicting = (labels != labels[first][group]) & (labels != UNLABELLED)
    table["split"][np.setdiff1d(used, kept, assume_unique=True)] = SPLITS.index("unused")
    moved = np.array([*(SPLITS.index(split) for split in STRICT), SPLITS.index("pool")])
    table["split"][kept] = moved[strictest]
    return len(used) - len(kept), int(contradicting.sum())
