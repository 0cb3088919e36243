"""Batches of captioned pictures."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from kcm_lightning.data.caption_files import Picture
from kcm_lightning.data.picture_store import PictureStore
from kcm_lightning.data.reviews import number_of


class CaptionBatches(Dataset):
    """Whole batches of pictures and their captions by positions.

    Args:
        pictures: all of them.
        store: their pixels.
        tokens: their captions, padded, shape `(N, captions, L)`.
        names: texts that tell them apart, also from those of other data.
    """

    def __init__(self, pictures: list[Picture], store: PictureStore, tokens: Tensor, names: list[str]):
        self.pictures, self.store, self.tokens = pictures, store, tokens
        self.places = torch.tensor([number_of(name) for name in names], dtype=torch.long)

    def __getitem__(self, positions: Tensor) -> dict:
        return {
            "pixels": self.store[positions],
            "large": [str(self.pictures[position].path) for position in positions.tolist()],
            "captions": self.tokens[positions],
            "index": self.places[positions],
        }
