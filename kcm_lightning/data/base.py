"""What a data module is to the rest of the project."""

from abc import abstractmethod
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from kcm_lightning.data.batches import BatchOrder, LengthBuckets, batch_loader
from kcm_lightning.errors import InputError
from kcm_lightning.seed import global_seed

DistillSplit = Literal["train", "pool", "both"]


class KCMDataModule(L.LightningDataModule):
    """Feeds a `KCMModule`: batches of `{"small", "large", "target", "index"}`, and what the data knows.

    `large` is the un-augmented input, `small` what the small models see, `index` the sample's stable place in the
    data set; together `large` and `index` make a cache of the large model's answers right.

    Args:
        batch_size: training samples a step and process.
        eval_batch_size: samples a step where nothing is trained.
        distill_split: "train"; "pool", held-out samples whose labels are not used; or "both".

    Attributes:
        name: of the data set; two data sets never share one.
        class_names: in the order of the labels.
        class_counts: training samples of each class, shape `(V,)`; known after `setup`.
        regions: region index of each class by scheme, each of shape `(V,)`; known after `setup`.
        region_names: names of the regions by scheme. The first scheme is the one that is reported.
        positions: positions in `batches` of each split's samples (train, val, test and, to distil on, pool).
        batches: whole batches by positions, which hold `index` and what `view` needs.
        lengths: of each sample, for batches of like length; None where all are equally long.
    """

    name: str
    class_names: list[str]
    class_counts: Tensor
    regions: dict[str, Tensor]
    region_names: dict[str, tuple[str, ...]]
    positions: dict[str, Tensor]
    batches: Dataset
    lengths: Tensor | None = None

    def __init__(self, batch_size: int, eval_batch_size: int, distill_split: DistillSplit):
        super().__init__()
        for option, size in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if size < 1:
                raise InputError(f"--data.{option}={size} must be at least 1")
        self.batch_size, self.eval_batch_size, self.distill_split = batch_size, eval_batch_size, distill_split

    @abstractmethod
    def view(self, batch: dict, augment: bool) -> dict:
        """The batch with `small` made for the small models, augmented or clean."""

    @abstractmethod
    def batch_of(self, inputs: Any) -> dict:
        """A batch of a user's own inputs, without target and index, as `Run.answer` needs it."""

    @abstractmethod
    def fingerprint(self) -> dict:
        """Hash and size of each split, to tell whether two results are of the same data."""

    @property
    def title(self) -> str:
        """The data set and what is used of it, for the head of a table."""
        return self.name

    def splits(self) -> dict[str, list[int]]:
        """Stable places of the samples of each split."""
        return {split: positions.tolist() for split, positions in self.positions.items()}

    def train_dataloader(self) -> DataLoader:
        """The training split, or in the distillation phase the split to distil on."""
        if getattr(self.trainer.lightning_module, "distilling", False):
            return self._loader(self._distill_positions(), shuffle=True, weights=self._distill_weights())
        return self._loader(self._train_positions(), shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.positions["val"])

    def test_dataloader(self) -> DataLoader:
        return self._loader(self.positions["test"])

    def predict_dataloader(self) -> DataLoader:
        return self._loader(self.positions["test"])

    def distill_dataloader(self) -> DataLoader:
        """The samples that the student is distilled on, each once, whole in every process."""
        return batch_loader(self.batches, self._order(self._distill_positions(), self.eval_batch_size, shuffle=False))

    def on_after_batch_transfer(self, batch: dict, dataloader_idx: int) -> dict:
        return self.view(batch, augment=self.trainer.training)

    def _train_positions(self) -> Tensor:
        return self.positions["train"]

    def _distill_positions(self) -> Tensor:
        splits = ("train", "pool") if self.distill_split == "both" else (self.distill_split,)
        positions = torch.cat([self.positions[split] for split in splits])
        if not len(positions):
            raise InputError(f"--data.distill_split={self.distill_split}: there is nothing to distil on")
        return positions

    def _distill_weights(self) -> Tensor | None:
        """Relative frequencies of the samples to distil on; None for equal ones."""
        return None

    def _loader(self, positions: Tensor, shuffle: bool = False, weights: Tensor | None = None) -> DataLoader:
        order = self._order(
            positions,
            self.batch_size if shuffle else self.eval_batch_size,
            shuffle,
            seed=global_seed(),
            rank=self.trainer.global_rank,
            processes=self.trainer.world_size,
            weights=weights,
        )
        return batch_loader(self.batches, order)

    def _order(self, positions: Tensor, *args, **kwargs) -> BatchOrder:
        if self.lengths is None:
            return BatchOrder(positions, *args, **kwargs)
        return LengthBuckets(self.lengths[positions], positions, *args, **kwargs)
