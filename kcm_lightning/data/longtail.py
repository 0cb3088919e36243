"""Long-tailed class counts, the samples they keep, and regions of classes."""

import math

import numpy as np
import torch
from torch import Tensor

REGION_NAMES: dict[str, tuple[str, ...]] = {
    "thirds": ("head", "med", "tail"),
    "shots": ("many", "medium", "few"),
}


def class_counts(profile: str, largest: int = 500, classes: int = 100) -> list[int]:
    """Training samples of each class of CIFAR-100-LT.

    Args:
        profile: `if100`, `if50`, `if10` (imbalance factor, as LDAM-DRW), `tlc` (as TLC and Data Shunt code
            it, 11,222 images, imbalance 71.4) or `balanced`.
        largest: samples of the largest class.
        classes: number of classes.
    """
    if profile == "balanced":
        return [largest] * classes
    if profile == "tlc":  # one sample more than the rounded exponential, the head clipped at what there is
        return [min(largest, int(largest * math.exp(-i / 21.9714) + 0.5) + 1) for i in range(classes)]
    imbalance = float(
        profile.removeprefix("if")
    )  # LDAM-DRW (Cao et al. 2019) cuts the exponential off, not rounds it
    return [int(largest * (1 / imbalance) ** (i / (classes - 1.0))) for i in range(classes)]


def keep_counts(labels: np.ndarray, counts: list[int], seed: int) -> np.ndarray:
    """Samples of a long-tailed subset, as LDAM-DRW draws them.

    Each class is shuffled in turn and its first ones are kept.

    Args:
        labels: class of every sample.
        counts: samples of each class to keep.
        seed: seed of the shuffle.

    Returns:
        Positions in `labels`, class by class.
    """
    random = np.random.RandomState(seed)
    kept = []
    for label, count in enumerate(counts):
        positions = np.flatnonzero(labels == label)
        random.shuffle(positions)
        kept.append(positions[:count])
    return np.concatenate(kept)


def equal_groups(counts: Tensor, groups: int) -> Tensor:
    """Group of each class, shape `(V,)`: equally many classes in each, most frequent first.

    Among equals the lower index comes first.

    Args:
        counts: training samples of each class, shape `(V,)`.
        groups: number of groups.
    """
    classes = len(counts)
    rank = torch.empty(classes, dtype=torch.long)
    rank[counts.argsort(descending=True, stable=True)] = torch.arange(classes)
    return rank * groups // classes


def thirds(counts: Tensor) -> Tensor:
    """Region of each class: 0 head, 1 med, 2 tail, each a third of the classes.

    100 classes give 34, 33 and 33, as in Data Shunt's code.
    """
    return equal_groups(counts, 3)


def shots(counts: Tensor) -> Tensor:
    """Region of each class by training samples: 0 many (over 100), 1 medium (20 to 100), 2 few (under 20)."""
    return (counts <= 100).long() + (counts < 20).long()


def named_regions(
    labels: Tensor, class_names: list[str]
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Regions of own data by scheme, and their names: two classes each for itself, more by their counts.

    Args:
        labels: class of every training sample, shape `(N,)`.
        class_names: in the order of the labels.
    """
    if len(class_names) == 2:
        return {"class": torch.arange(2)}, {"class": (class_names[0], class_names[1])}
    counts = torch.bincount(labels, minlength=len(class_names))
    return {"thirds": thirds(counts), "shots": shots(counts)}, REGION_NAMES
