"""What images in memory have to be: their type, size, values, labels and splits."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from kcm_lightning.utils.errors import InputError

_LABELED = ("train", "val", "test")  # the labels of a pool are not used, and may be anything


def check_batch(images: Any, shape: Sequence[int] | None) -> None:
    """Whether a user's own images are as a run's data were.

    Args:
        images: what was given.
        shape: channels, height and width of the run's images; None where that is not known.

    Raises:
        InputError: they are not; the message says how to convert them.
    """
    _check_kind(images, "images")
    if not len(images):
        raise InputError("images: there are none")
    if shape is not None and tuple(images.shape[1:]) != tuple(shape):
        height, width = shape[1:]
        raise InputError(
            f"images are of {_size(images)} pixels, and the run was trained on {height} x {width}: resize "
            "them first, as its training images were, for instance with "
            f"torchvision.transforms.v2.functional.resize(images, [{height}, {width}], antialias=True)"
        )
    if int(images.max()) == 1:
        rank_zero_warn("no value of these images is above 1 of 255: fractions must be times 255")


def check_images(images: Any, who: str) -> None:
    """Whether a data module's images are what the models read.

    Args:
        images: what it has read.
        who: the data module's name, for the error.

    Raises:
        InputError: they are not.
    """
    _check_kind(images, f"{who}.images")
    if len(images) and int(images.max()) <= 1:
        raise InputError(f"{who}.images: no value is above 1 of 255: fractions must be times 255")


def _check_kind(images: Any, what: str) -> None:
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise InputError(
            f"{what} must be a uint8 tensor of shape (B, 3, H, W), not {kind}: make fractions "
            "(images * 255).round().to(torch.uint8), and bring other values to 0 to 255 first"
        )
    if images.dim() != 4 or images.shape[1] != 3 or not images.shape[2] * images.shape[3]:
        raise InputError(f"{what} must be a uint8 tensor of shape (B, 3, H, W), not {tuple(images.shape)}")


def check_statistics(mean: Sequence[float], std: Sequence[float], who: str) -> None:
    """Whether mean and standard deviation are fractions of 255, three of each.

    Raises:
        InputError: they are not.
    """
    right = len(mean) == len(std) == 3 and all(0 <= m <= 1 for m in mean) and all(0 < s <= 1 for s in std)
    if not right:
        raise InputError(
            f"{who}: mean {mean} and std {std} must be three fractions of 255 each, std above 0: divide "
            "values from 0 to 255 by 255"
        )


def check_splits(positions: Mapping[str, Any], count: int, who: str) -> None:
    """Whether each split holds samples that exist, and no two splits the same one.

    Args:
        positions: positions of each split's samples.
        count: samples in all.
        who: the data module's name, for the error.

    Raises:
        InputError: a split is missing or empty, holds what does not exist, a sample twice, or one of another.
    """
    owner = torch.full((count,), -1)
    splits = list(dict.fromkeys([*_LABELED, *positions]))
    for number, split in enumerate(splits):
        own, what = positions.get(split), f"{who}.positions[{split!r}]"
        if not isinstance(own, Tensor) or own.dtype != torch.long or own.dim() != 1:
            raise InputError(f"{what} must be int64 of shape (N,), the positions of its images")
        if split in _LABELED and not len(own):
            raise InputError(f"{what} is empty: there is nothing to {_USE[split]}")
        if len(own) and (int(own.min()) < 0 or int(own.max()) >= count):
            raise InputError(f"{what} must be from 0 to {count - 1}, as there are {count} images")
        if len(taken := own[owner[own] >= 0]):
            other = splits[int(owner[taken[0]])]
            raise InputError(
                f"{what} and {other!r} share {len(taken)} images, the one at {int(taken[0])} for one: "
                "keep the splits apart"
            )
        if len(own.unique()) < len(own):
            raise InputError(f"{what} has {len(own) - len(own.unique())} images twice")
        owner[own] = number


_USE = {"train": "train on", "val": "validate on", "test": "test on"}


def plain_names(class_names: Any, who: str) -> list:
    """Class names as texts and plain numbers, which JSON can hold: those of NumPy and torch as Python's own.

    Args:
        class_names: in the order of the labels.
        who: the data module's name, for the error.

    Raises:
        InputError: they are no list, or one is neither a text nor a number.
    """
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise InputError(f"{who}.class_names must be a list of texts, not {type(class_names).__name__}")
    scalars = (np.generic, Tensor)
    names = [name.item() if isinstance(name, scalars) and not name.ndim else name for name in class_names]
    if other := [name for name in names if not isinstance(name, str | int | float)]:
        raise InputError(
            f"{who}.class_names: {repr(other[0])[:60]} is neither a text nor a number: take str(...) of it"
        )
    return names


def check_labels(
    labels: Any, positions: Mapping[str, Tensor], count: int, class_names: Sequence[str], who: str
) -> None:
    """Whether each sample of the training, validation and test split is of a class that has a name.

    Args:
        labels: the label of every sample.
        positions: positions of each split's samples.
        count: samples in all.
        class_names: in the order of the labels.
        who: the data module's name, for the error.

    Raises:
        InputError: one is not, and is named; or two classes have one name.
    """
    if len(set(class_names)) < len(class_names):
        twice = next(name for name in class_names if list(class_names).count(name) > 1)
        raise InputError(f"{who}.class_names: {twice!r} is there twice")
    if not isinstance(labels, Tensor) or labels.dtype != torch.long or tuple(labels.shape) != (count,):
        kind = (
            f"{labels.dtype} of shape {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels)
        )
        raise InputError(
            f"{who}.labels must be int64 (`.long()`) of shape ({count},), one an image, not {kind}"
        )
    for split in _LABELED:
        own = labels[positions[split]]
        wrong = ((own < 0) | (own >= len(class_names))).nonzero().flatten()
        if len(wrong):
            place = int(positions[split][wrong[0]])
            raise InputError(
                f"{who}.labels: {len(wrong)} samples of the {split} split have no class, sample {place} the "
                f"label {int(labels[place])}; labels are from 0 to {len(class_names) - 1}"
            )


def _size(images: Tensor) -> str:
    return " x ".join(map(str, images.shape[2:]))
