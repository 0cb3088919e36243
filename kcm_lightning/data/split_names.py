"""The splits of data that are read from files: their numbers, their names, and what is on which."""

from torch import Tensor

SPLITS = ("unused", "train", "pool", "val", "test")
UNLABELLED = -1  # in place of a class number
STRICT = ("unused", "test", "val", "pool", "train")  # copies are on the side that comes first here
CALLED = {  # names of folders, and words in a column
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "unlabelled": "pool",
    "unlabeled": "pool",
}


def side_at(place: float, test_share: float, val_share: float) -> str:
    """The split of a sample by its place in [0, 1), which is even over all samples.

    >>> [side_at(place, test_share=0.2, val_share=0.1) for place in (0.1, 0.25, 0.3)]
    ['test', 'val', 'train']
    """
    if place < test_share:
        return "test"
    return "val" if place < test_share + val_share else "train"


def positions_of(split: Tensor) -> dict[str, Tensor]:
    """Places of each split's samples; of those that are not used, none.

    Args:
        split: indices into `SPLITS`, shape `(N,)`.

    >>> import torch
    >>> positions_of(torch.tensor([1, 0, 4, 1]))["train"]
    tensor([0, 3])
    """
    return {
        name: (split == number).nonzero().squeeze(1) for number, name in enumerate(SPLITS) if name != "unused"
    }
