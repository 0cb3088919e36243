"""What stands out in someone's data before anything is trained."""

from collections import Counter
from typing import Any

import torch

from kcm_lightning.utils.class_names import plain_name, shortened

_FEW = 10  # training samples of a class that are few
_LONG_TAIL = 10  # times as many samples as another class has


def findings(data: Any) -> list[str]:
    """Sentences about data that are set up: sizes, classes, and what may be wrong with them.

    Args:
        data: a data module with classes.
    """
    sizes = {split: len(positions) for split, positions in data.positions.items() if len(positions)}
    said = [", ".join(f"{split} {count:,}" for split, count in sizes.items()) + " samples"]
    counts = dict(zip(data.class_names, data.class_counts.tolist(), strict=True))
    ordered = sorted(counts.items(), key=lambda own: -own[1])
    shown = [f"{name} {count:,}" for name, count in ordered]
    middle = [] if len(shown) <= 10 else ["..."]
    said.append(f"{len(counts)} classes: " + ", ".join(shown[:5] + middle + shown[-5:] if middle else shown))
    if ordered[0][1] > _LONG_TAIL * max(1, ordered[-1][1]):
        said.append(
            f"a long tail: {ordered[0][0]!r} has {ordered[0][1] / max(1, ordered[-1][1]):.0f} times as many "
            f"training samples as {ordered[-1][0]!r}"
        )
    if few := [name for name, count in counts.items() if count < _FEW]:
        said.append(f"{len(few)} classes have fewer than {_FEW} training samples: {shortened(few)}")
    if alike := _alike(data.class_names):
        said.append(f"perhaps one class under two names: {' and '.join(map(repr, alike))}")
    if data.lengths is not None:
        lengths = data.lengths.float()
        cut = (data.lengths >= data.max_tokens).float().mean()
        said.append(
            f"texts of {int(lengths.median())} tokens in the middle; {100 * cut:.0f} % are cut off at "
            f"{data.max_tokens}"
        )
    return said + _of_validation(data)


def _of_validation(data: Any) -> list[str]:
    labels = data.labels_of("val")
    missing = len(data.class_names) - len(torch.unique(labels))
    said = [f"{missing} classes are not in the validation split"] if missing else []
    if len(labels) < 300:
        said.append(
            f"{len(labels)} validation samples are few: thresholds will be rough, and a drop of 1 % cannot "
            "be promised; some hundreds more would help"
        )
    return said


def _alike(names: list[str]) -> list[str]:
    """The first names that differ in case, blanks or an ending alone."""
    short = {name: plain_name(name).rstrip("s").replace(" ", "") for name in names}
    often = Counter(short.values())
    twice = next((own for own, count in often.items() if count > 1), None)
    return [] if twice is None else [name for name, own in short.items() if own == twice]
