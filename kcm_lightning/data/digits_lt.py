"""scikit-learn's bundled handwritten digits, long-tailed: real images that need no download."""

import torch

from kcm_lightning.data.base import DistillSplit
from kcm_lightning.data.images import LongTailedImages
from kcm_lightning.data.longtail import keep_counts
from kcm_lightning.utils.ranges import check_number


class DigitsLT(LongTailedImages):
    """1,797 images of 8x8 pixels in 10 classes: 600 to test, 300 to validate, a long tail to train.

    Args:
        imbalance: training images of the most frequent class over those of the rarest; 1 is balanced.
        batch_size: training images a step and process.
        eval_batch_size: images a step where nothing is trained.
        distill_split: images that the student is distilled on: "train", the default; "pool", the first half
            of the validation images, labels unused; or "both".
        distill_balance: how far distillation evens out the classes of the training split, from 0 (not at all)
            to 1 (each class equally often).
        crop: pixels of padding before the random crop; 0 for none.
    """

    name = "sklearn-digits"
    mean = (0.305, 0.305, 0.305)
    std = (0.377, 0.377, 0.377)
    image_shape = (3, 8, 8)

    def __init__(
        self,
        imbalance: float = 20.0,
        batch_size: int = 32,
        eval_batch_size: int = 300,
        distill_split: DistillSplit = "train",
        distill_balance: float = 0.0,
        crop: int = 1,
    ):
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            distill_split=distill_split,
            distill_balance=distill_balance,
            crop=crop,
            flip=False,
            cutout=0,
            rand_augment=0,
        )
        check_number("--data.imbalance", imbalance, low=1)
        self.imbalance = imbalance

    def read(self) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        self.class_names = [str(name) for name in digits.target_names]
        pixels = torch.from_numpy(digits.images * (255 / 16)).round().to(torch.uint8)
        self.images = pixels.unsqueeze(1).repeat(1, 3, 1, 1)  # (N, 3, 8, 8): large models take three channels
        self.labels = torch.from_numpy(digits.target).long()
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(0))
        test, held_out, rest = order[:600], order[600:900], order[900:]
        largest = int(self.labels[rest].bincount().min())
        classes = len(self.class_names)
        counts = [round(largest * self.imbalance ** (-i / (classes - 1))) for i in range(classes)]
        kept = rest[torch.from_numpy(keep_counts(self.labels[rest].numpy(), counts, seed=0))]
        self.positions = {"train": kept, "val": held_out, "test": test}
        if self.distill_split != "train":
            self.positions |= {"pool": held_out[:150], "val": held_out[150:]}
