"""The contract between the data and the module that learns from them."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kcm_lightning.data.batches import BatchOrder, LengthBuckets, batch_loader
from kcm_lightning.data.contents import content_ids
from kcm_lightning.data.vocabulary import Vocabulary
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.seed import global_seed

DistillSplit = Literal["train", "pool", "both"]
Batch = dict[str, Any]


@dataclass
class TrainingSamples:
    """What the current epoch trains on.

    Args:
        distilling: whether it is the split to distill on, instead of the labeled training split.
        classes: classes whose samples of the training split it is; None for all of them.
    """

    distilling: bool = False
    classes: Tensor | None = None


@runtime_checkable
class Learner(Protocol):
    """The module's side of the contract: before each epoch it says what that trains on."""

    def training_samples(self) -> TrainingSamples:
        """What the current epoch trains on."""


class KCMDataModule(L.LightningDataModule):
    """The data's side of the contract with a module.

    **Batches.** A batch on its way to a module has four entries:

    - `small`: what the small models see, augmented in training; made by `view`, on the module's device;
    - `large`: the un-augmented inputs, as the large model wants them: a tensor, or a list of texts or paths;
    - `target`: the labels, shape `(B,)`, or captions, shape `(B, L)`; in the split to distill on they are not
      used;
    - `index`: the sample ids, shape `(B,)`. With `large` they make a cache of the large model's answers
      right.

    **What the data know** stands in the attributes below, after `setup`. The module reads it in its own
    `setup`.

    **What the module says.** A module is a `Learner`: `train_dataloader`, which is called before each epoch,
    asks it which samples that epoch trains on. Any other module gets the training split.

    Args:
        batch_size: training samples a step and process.
        eval_batch_size: samples a step where nothing is trained.
        distill_split: samples that the student is distilled on: "train", the training split; "pool", held-out
            samples whose labels are not used; or "both".

    Attributes:
        name: name of the data set; two data sets never share one.
        class_names: in the order of the labels; empty for captions.
        class_counts: training samples of each class, shape `(V,)`.
        regions: region index of each class by scheme, each of shape `(V,)`.
        region_names: names of the regions by scheme. The first scheme is the one that is reported.
        positions: positions in `batches` of each split's samples (train, val, test and, to distill on, pool).
        batches: whole batches by positions, which hold `index` and what `view` needs.
        overfit: whether each epoch has the training batches of the first, and validates on them, as
            `--trainer.overfit_batches` asks.
        lengths: length of each sample, for batches of like length; None where all are equally long.
        vocab_size: tokens that `small` is made of; None for images.
        image_shape: channels, height and width of every image in `large`; None for other data. A run keeps
            it, so that it answers to images of this shape alone.
        distill_balance: how far distillation evens out the classes, from 0 to 1.
    """

    trainer: L.Trainer  # there before a batch is asked for
    name: str
    class_names: list[str]
    class_counts: Tensor
    regions: dict[str, Tensor]
    region_names: dict[str, tuple[str, ...]]
    positions: dict[str, Tensor]
    batches: Dataset
    overfit: bool = False
    lengths: Tensor | None = None
    vocab_size: int | None = None
    image_shape: tuple[int, ...] | None = None
    distill_balance: float = 0.0

    def __init__(self, batch_size: int, eval_batch_size: int, distill_split: DistillSplit):
        super().__init__()
        for option, size in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if size < 1:
                raise InputError(f"--data.{option}={size} must be at least 1")
        self.batch_size, self.eval_batch_size, self.distill_split = batch_size, eval_batch_size, distill_split

    @abstractmethod
    def view(self, batch: Batch, augment: bool) -> Batch:
        """The batch with `small` made for the small models, augmented or clean."""

    @abstractmethod
    def batch_of(self, inputs: Any) -> Batch:
        """A batch of a user's own inputs, without target and index, as `Run.answer` needs it."""

    @abstractmethod
    def fingerprint(self) -> dict:
        """What tells whether two results are of the same data, plain values only.

        Of each split `{"samples": count, "sha256": digest}`, by the content of its inputs and labels; beside
        them, under names of their own, what was read and left out.
        """

    def contents(self, split: str) -> Tensor:
        """A hash of each sample's input in a split, shape `(N,)`; 63 bits of what it holds.

        Names and places make no difference: a sample keeps its hash when the data around it grow, so that
        `torch.isin(data.contents("test"), trained_on)` says which samples of today's test split an earlier
        run was trained on. Unchanged data may have twins across their splits too: CIFAR-100-LT has three.
        """
        parts = (self.batches[rows]["large"] for rows in self.positions[split].split(1_000))
        return content_ids(one for part in parts for one in part)

    def labels_of(self, split: str) -> Tensor | None:
        """Class of each sample of a split, shape `(N,)`; None where that is not known at once."""
        return None

    @property
    def title(self) -> str:
        """The data set and what is used of it, for the head of a table."""
        return self.name

    def splits(self) -> dict[str, list[int]]:
        """Sample ids of each split."""
        return {split: positions.tolist() for split, positions in self.positions.items()}

    def train_dataloader(self) -> DataLoader:
        """What the module says that the current epoch trains on."""
        module = self.trainer.lightning_module
        wanted = module.training_samples() if isinstance(module, Learner) else TrainingSamples()
        if wanted.distilling:
            return self._loader(self._distill_positions(), shuffle=True, weights=self._distill_weights())
        return self._loader(self._train_positions(wanted.classes), shuffle=True)

    def val_dataloader(self) -> DataLoader:
        if self.overfit:
            return self.train_dataloader()
        return self._loader(self.positions["val"])

    def test_dataloader(self) -> DataLoader:
        return self._loader(self.positions["test"])

    def predict_dataloader(self) -> DataLoader:
        return self._loader(self.positions["test"])

    def distill_dataloader(self) -> DataLoader:
        """The samples that the student is distilled on, each once, whole in every process."""
        order = self._order(self._distill_positions(), self.eval_batch_size, shuffle=False)
        return batch_loader(self.batches, order)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        return self.view(batch, augment=self.trainer.training)

    def _train_positions(self, classes: Tensor | None) -> Tensor:
        """The training split, or of it the samples of some classes."""
        if classes is not None:
            raise InputError("training on some classes alone needs images with classes")
        return self.positions["train"]

    def _distill_positions(self) -> Tensor:
        splits = ("train", "pool") if self.distill_split == "both" else (self.distill_split,)
        positions = torch.cat([self.positions[split] for split in splits])
        if not len(positions):
            raise InputError(f"--data.distill_split={self.distill_split}: there is nothing to distill on")
        return positions

    def _distill_weights(self) -> Tensor | None:
        """Relative frequencies of the samples to distill on; None for equal ones."""
        return None

    def _loader(self, positions: Tensor, shuffle: bool = False, weights: Tensor | None = None) -> DataLoader:
        order = self._order(
            positions,
            self.batch_size if shuffle else self.eval_batch_size,
            shuffle=shuffle,
            seed=global_seed(),
            rank=self.trainer.global_rank,
            processes=self.trainer.world_size,
            weights=weights,
            same=self.overfit,
        )
        return batch_loader(self.batches, order)

    def _order(self, positions: Tensor, batch_size: int, **options: Any) -> BatchOrder:
        if self.lengths is None:
            return BatchOrder(positions, batch_size, **options)
        return LengthBuckets(self.lengths[positions], positions, batch_size, **options)


class CaptionDataModule(KCMDataModule):
    """The contract for captions, which have a vocabulary where classes have names.

    Attributes:
        vocabulary: what the numbers of `target` stand for.
        max_length: tokens of a caption, its end counted.
        predict_folder: images that `predict` captions; None for those of the test split.
        unreadable: images of `predict_folder` that could not be read, and why.
    """

    class_names: list[str] = []  # noqa: RUF012  captions have none
    vocabulary: Vocabulary
    max_length: int
    predict_folder: str | None
    unreadable: dict[Path, str]

    @abstractmethod
    def references(self, sample_ids: Tensor) -> list[list[str]]:
        """The captions that people gave some images, by their sample ids."""

    @abstractmethod
    def vocabulary_of(self, units: list) -> Vocabulary:
        """The vocabulary of a trained run, by the units that its checkpoint has."""
