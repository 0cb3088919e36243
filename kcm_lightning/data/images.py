"""What the image data modules share: one uint8 tensor, its splits, loaders and augmentation."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from kcm_lightning.data.augment import cutout, rand_augment, random_crop, random_flip, random_rotation
from kcm_lightning.data.base import Batch, DistillSplit, KCMDataModule
from kcm_lightning.data.image_checks import (
    check_batch,
    check_images,
    check_labels,
    check_splits,
    check_statistics,
    plain_names,
)
from kcm_lightning.data.image_store import shrunken
from kcm_lightning.data.longtail import REGION_NAMES, shots, thirds
from kcm_lightning.utils.errors import InputError


class ImageBatches(Dataset):
    """Whole batches of images by a list of positions, with no loop over samples.

    Args:
        images: uint8, shape `(N, C, H, W)`.
        labels: shape `(N,)`.
    """

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels = images, labels

    def __getitem__(self, positions: Tensor) -> dict[str, Tensor]:
        return {"large": self.images[positions], "target": self.labels[positions], "index": positions}


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Pixels of mean 0 and deviation 1 by channel, in channels-last order.

    Args:
        images: uint8, or float of the same range, shape `(B, 3, H, W)`.
        mean: mean of each channel, as a fraction of 255.
        std: standard deviation of each channel, as a fraction of 255.
    """
    shift, scale = (torch.tensor(values, device=images.device)[:, None, None] * 255 for values in (mean, std))
    return ((images.float() - shift) / scale).contiguous(memory_format=torch.channels_last)


class AugmentedImages(KCMDataModule):
    """Images with classes: what training does to the squares that small models see.

    A batch has them as `pixels`; where it has none, `large` are the squares themselves.

    Args:
        batch_size: training samples a step and process.
        eval_batch_size: samples a step where nothing is trained.
        distill_split: see `KCMDataModule`.
        distill_balance: how far distillation evens out the classes of the training split, from 0 (not at all)
            to 1 (each class equally often): a sample is drawn with a frequency of 1 / (samples of its class)
            ** distill_balance.
        crop: pixels of padding before the random crop; 0 for none.
        flip: whether to mirror images left to right at random.
        cutout: side of the square that is cut out, in pixels; 0 for none.
        rand_augment: operations of RandAugment; 0 for none.
        rotation: largest random rotation to either side, in degrees; 0 for none.

    Attributes:
        labels: class of every sample, shape `(N,)`.
        mean: mean of each channel, as a fraction of 255.
        std: standard deviation of each channel, as a fraction of 255.
    """

    labels: Tensor
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __init__(
        self,
        batch_size: int,
        eval_batch_size: int,
        distill_split: DistillSplit,
        distill_balance: float,
        crop: int,
        flip: bool,
        cutout: int,
        rand_augment: int,
        rotation: float = 0.0,
    ):
        super().__init__(batch_size, eval_batch_size, distill_split)
        if not 0 <= distill_balance <= 1:
            raise InputError(f"--data.distill_balance={distill_balance} must be from 0 to 1")
        self.distill_balance = distill_balance
        self.crop, self.flip, self.cutout, self.rand_augment, self.rotation = (
            crop,
            flip,
            cutout,
            rand_augment,
            rotation,
        )

    def labels_of(self, split: str) -> Tensor:
        return self.labels[self.positions[split]]

    def _train_positions(self, classes: Tensor | None) -> Tensor:
        positions = self.positions["train"]
        return positions if classes is None else positions[torch.isin(self.labels[positions], classes)]

    def _distill_weights(self) -> Tensor | None:
        """Relative frequencies of the samples; the pool's labels are not known: it gets the mean."""
        if not self.distill_balance or self.distill_split == "pool":
            return None
        train = self.class_counts[self.labels[self.positions["train"]]].double() ** -self.distill_balance
        rest = len(self._distill_positions()) - len(train)
        return torch.cat([train, train.mean().expand(rest)])

    def view(self, batch: Batch, augment: bool) -> Batch:
        images = batch["pixels"] if "pixels" in batch else batch["large"]
        if augment:
            if self.rand_augment:
                images = rand_augment(images, self.rand_augment)
            if self.crop:
                images = random_crop(images, self.crop)
            if self.flip:
                images = random_flip(images)
            if self.rotation:
                images = random_rotation(images, self.rotation)
        small = normalize(images, self.mean, self.std)
        if augment and self.cutout:
            small = cutout(small, self.cutout)
        return {name: values for name, values in batch.items() if name != "pixels"} | {"small": small}


class LongTailedImages(AugmentedImages):
    """Long-tailed image classification out of memory.

    A subclass fills `class_names`, `images`, `labels` and `positions` in `read`. What it fills in is checked:
    types, shapes, value ranges, labels of known classes, and that no image is in two splits.

    Args:
        *args: see `AugmentedImages`.
        **options: see `AugmentedImages`.

    Attributes:
        image_shape: channels, height and width of every image; known once the images are read.
    """

    region_names: dict[str, tuple[str, ...]] = REGION_NAMES

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.images = self.labels = torch.empty(0)
        self._is_read = False

    def read(self) -> None:
        """Fills `class_names`, `images` (uint8, `(N, 3, H, W)`), `labels` `(N,)` and `positions`."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self._is_read:
            return
        self.read()
        self._check()
        self._is_read = True
        self.image_shape = tuple(self.images.shape[1:])
        train_labels = self.labels[self.positions["train"]]
        self.class_counts = torch.bincount(train_labels, minlength=len(self.class_names))
        self.regions = {"thirds": thirds(self.class_counts), "shots": shots(self.class_counts)}
        self.batches = ImageBatches(self.images, self.labels)

    def _check(self) -> None:
        """Refuses what `read` has filled in where a figure would silently be wrong by it."""
        who = type(self).__name__
        check_images(self.images, who)
        check_statistics(self.mean, self.std, who)
        self.class_names = plain_names(self.class_names, who)
        check_splits(self.positions, count=len(self.images), who=who)
        check_labels(
            self.labels, self.positions, count=len(self.images), class_names=self.class_names, who=who
        )

    def batch_of(self, inputs: Tensor | list[Path]) -> Batch:
        """A batch of images, uint8 of shape `(B, 3, H, W)`, in the data set's height and width.

        Of image files, given by their paths, it is the middle square in that size.

        Raises:
            InputError: they are something else, and no paths; a tensor is not resized or rescaled.
        """
        if isinstance(inputs, list) and inputs and all(isinstance(path, Path) for path in inputs):
            inputs = shrunken(inputs, 0 if self.image_shape is None else self.image_shape[-1])
        check_batch(inputs, self.image_shape)
        return self.view({"large": inputs}, augment=False)

    def fingerprint(self) -> dict:
        result = {}
        for split, positions in self.positions.items():
            digest = hashlib.sha256(self.images[positions].numpy().tobytes())
            digest.update(self.labels[positions].numpy().tobytes())
            result[split] = {"samples": len(positions), "sha256": digest.hexdigest()[:16]}
        return result
