"""Batches of captioned images."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from kcm_lightning.data.caption_files import CaptionedImage
from kcm_lightning.data.image_store import ImageStore
from kcm_lightning.data.text_store import sample_id_of


class CaptionBatches(Dataset):
    """Whole batches of images and their captions by positions.

    Args:
        images: all of them.
        store: their pixels.
        tokens: their captions, padded, shape `(N, captions, L)`.
        names: texts that tell them apart, also from those of other data; the sample ids are their hashes.
    """

    def __init__(self, images: list[CaptionedImage], store: ImageStore, tokens: Tensor, names: list[str]):
        self.images, self.store, self.tokens = images, store, tokens
        self.sample_ids = torch.tensor([sample_id_of(name) for name in names], dtype=torch.long)

    def __getitem__(self, positions: Tensor) -> dict:
        return {
            "pixels": self.store[positions],
            "large": [str(self.images[position].path) for position in positions.tolist()],
            "captions": self.tokens[positions],
            "index": self.sample_ids[positions],
        }
