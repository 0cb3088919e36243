"""What a data module is to the rest of the project."""

from abc import abstractmethod
from typing import Any

import lightning as L
from torch import Tensor
from torch.utils.data import DataLoader


class KCMDataModule(L.LightningDataModule):
    """Feeds a `KCMModule`: batches of `{"small", "large", "target", "index"}`, and what the data knows.

    `large` is the un-augmented input, `small` what the small models see, `index` the sample's stable place in the
    data set; together `large` and `index` make a cache of the large model's answers right.

    Attributes:
        name: of the data set; two data sets never share one.
        class_names: in the order of the labels.
        class_counts: training samples of each class, shape `(V,)`; known after `setup`.
        regions: region index of each class by scheme, each of shape `(V,)`; known after `setup`.
        region_names: names of the regions by scheme. The first scheme is the one that is reported.
    """

    name: str
    class_names: list[str]
    class_counts: Tensor
    regions: dict[str, Tensor]
    region_names: dict[str, tuple[str, ...]]

    @abstractmethod
    def distill_dataloader(self) -> DataLoader:
        """The samples that the student is distilled on, each once, in order."""

    @abstractmethod
    def view(self, batch: dict, augment: bool) -> dict:
        """The batch with `small` made from `large`, augmented or clean."""

    @abstractmethod
    def batch_of(self, inputs: Any) -> dict:
        """A batch of a user's own inputs, without target and index, as `Run.answer` needs it."""

    @abstractmethod
    def fingerprint(self) -> dict:
        """Hash and size of each split, to tell whether two results are of the same data."""

    @property
    @abstractmethod
    def samples(self) -> int:
        """How many stable places there are; every `index` is below it."""

    @abstractmethod
    def splits(self) -> dict[str, list[int]]:
        """Stable places of the samples of each split."""

    def on_after_batch_transfer(self, batch: dict, dataloader_idx: int) -> dict:
        return self.view(batch, augment=self.trainer.training)
