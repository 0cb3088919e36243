"""What the image data modules share: one uint8 tensor, its splits, loaders and augmentation."""

import hashlib
from typing import ClassVar

import torch
from torch import Tensor

from kcm_lightning.data.augment import cutout, normalise, rand_augment, random_crop, random_flip, random_rotation
from kcm_lightning.data.base import DistillSplit, KCMDataModule
from kcm_lightning.data.batches import ImageBatches
from kcm_lightning.data.longtail import shots, thirds
from kcm_lightning.errors import InputError


class LongTailedImages(KCMDataModule):
    """Long-tailed image classification out of memory. A subclass fills `images`, `labels` and `positions` in `read`.

    Args:
        batch_size: training samples a step and process.
        eval_batch_size: samples a step where nothing is trained.
        distill_split: "train"; "pool", held-out images whose labels are not used; or "both".
        distill_balance: how far distillation evens out the classes of the training split, from 0 (not at all) to 1 (each
            class equally often): a sample is drawn with a frequency of 1 / (samples of its class) ** distill_balance.
        crop: pixels of padding before the random crop; 0 for none.
        flip: whether to mirror at random.
        cutout: side of the square that is cut out, pixels; 0 for none.
        rand_augment: operations of RandAugment; 0 for none.
        rotation: largest random rotation to either side, degrees; 0 for none.
    """

    region_names: ClassVar = {"thirds": ("head", "med", "tail"), "shots": ("many", "medium", "few")}
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
        self.crop, self.flip, self.cutout, self.rand_augment, self.rotation = crop, flip, cutout, rand_augment, rotation
        self.images: Tensor | None = None

    def read(self) -> None:
        """Fills `class_names`, `images` (uint8, `(N, 3, H, W)`), `labels` `(N,)` and `positions` by split, perhaps a pool."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self.images is not None:
            return
        self.read()
        train_labels = self.labels[self.positions["train"]]
        self.class_counts = torch.bincount(train_labels, minlength=len(self.class_names))
        self.regions = {"thirds": thirds(self.class_counts), "shots": shots(self.class_counts)}
        self.batches = ImageBatches(self.images, self.labels)

    def _train_positions(self) -> Tensor:
        """Of the classes that the module learns now, where it learns them in groups."""
        positions = self.positions["train"]
        classes = getattr(self.trainer.lightning_module, "current_classes", None)
        return positions if classes is None else positions[torch.isin(self.labels[positions], classes)]

    def _distill_weights(self) -> Tensor | None:
        """Relative frequencies of the samples to distil on. The pool's labels are not known: its samples get the mean."""
        if not self.distill_balance or self.distill_split == "pool":
            return None
        train = self.class_counts[self.labels[self.positions["train"]]].double() ** -self.distill_balance
        rest = len(self._distill_positions()) - len(train)
        return torch.cat([train, train.mean().expand(rest)])

    def view(self, batch: dict, augment: bool) -> dict:
        images = batch["large"]
        if augment:
            if self.rand_augment:
                images = rand_augment(images, self.rand_augment)
            if self.crop:
                images = random_crop(images, self.crop)
            if self.flip:
                images = random_flip(images)
            if self.rotation:
                images = random_rotation(images, self.rotation)
        small = normalise(images, self.mean, self.std)
        if augment and self.cutout:
            small = cutout(small, self.cutout)
        return {**batch, "small": small}

    def batch_of(self, inputs: Tensor) -> dict:
        """A batch of images, uint8, of shape `(B, 3, H, W)` and the data set's height and width."""
        if not isinstance(inputs, Tensor) or inputs.dtype != torch.uint8 or inputs.dim() != 4 or inputs.shape[1] != 3:
            raise InputError("images must be a uint8 tensor of shape (B, 3, H, W)")
        return self.view({"large": inputs}, augment=False)

    def fingerprint(self) -> dict:
        result = {}
        for split, positions in self.positions.items():
            digest = hashlib.sha256(self.images[positions].numpy().tobytes())
            digest.update(self.labels[positions].numpy().tobytes())
            result[split] = {"samples": len(positions), "sha256": digest.hexdigest()[:16]}
        return result
