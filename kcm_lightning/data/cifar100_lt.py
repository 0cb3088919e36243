"""CIFAR-100-LT."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from kcm_lightning.data.base import DistillSplit
from kcm_lightning.data.images import LongTailedImages
from kcm_lightning.data.longtail import class_counts, keep_counts
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import check_path


class CIFAR100LT(LongTailedImages):
    """Long-tailed CIFAR-100 with Data Shunt's split of the test set.

    A sample id is the image's place in the official training file, or 50,000 plus its place in the test file.

    Args:
        root: folder that holds `cifar-100-python`.
        profile: training images of each class: "if100", the default (500 to 5, as LDAM-DRW), "if50", "if10",
            "tlc" (11,222 images, as Data Shunt) or "balanced".
        download: whether to fetch the official files into `root` when they are not there.
        test_images: "data_shunt", the default: 8,000 test images to report on and 2,000 held out (generator
            seed 0); or "all": all 10,000 to report on and 2,000 held out from training images that the
            profile leaves unused. A large model that was trained on the balanced training set has seen those:
            thresholds chosen on them trust it too much.
        subset_seed: seed of the choice of training images.
        batch_size: training images a step and process.
        eval_batch_size: images a step where nothing is trained.
        distill_split: images that the student is distilled on: "train", the default; "pool", the first half
            of the held-out images, labels unused; or "both". With a pool, validation and thresholds have the
            second half of the held-out images alone.
        distill_balance: how far distillation evens out the classes of the training split, from 0 (not at all)
            to 1 (each class equally often): an image is drawn with a frequency of 1 / (images of its class)
            ** distill_balance.
        crop: pixels of padding before the random crop; 0 for none.
        flip: whether to mirror images left to right at random.
        cutout: side of the square that is cut out, in pixels; 0 for none.
        rand_augment: operations of RandAugment; 0, the default, for none.
        rotation: largest random rotation to either side, in degrees; 0, the default, for none.
    """

    name = "cifar100"
    mean = (0.5071, 0.4865, 0.4409)
    std = (0.2673, 0.2564, 0.2762)
    image_shape = (3, 32, 32)

    def __init__(
        self,
        root: str = "data",
        profile: Literal["if100", "if50", "if10", "tlc", "balanced"] = "if100",
        download: bool = False,
        test_images: Literal["data_shunt", "all"] = "data_shunt",
        subset_seed: int = 0,
        batch_size: int = 128,
        eval_batch_size: int = 500,
        distill_split: DistillSplit = "train",
        distill_balance: float = 0.0,
        crop: int = 4,
        flip: bool = True,
        cutout: int = 8,
        rand_augment: int = 0,
        rotation: float = 0.0,
    ):
        super().__init__(
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            distill_split=distill_split,
            distill_balance=distill_balance,
            crop=crop,
            flip=flip,
            cutout=cutout,
            rand_augment=rand_augment,
            rotation=rotation,
        )
        if profile == "balanced" and test_images == "all":
            raise InputError(
                "--data.test_images=all needs unused training images, and `balanced` leaves none"
            )
        check_path("--data.root", root)
        self.root, self.profile, self.download = root, profile, download
        self.test_images, self.subset_seed = test_images, subset_seed

    def prepare_data(self) -> None:
        """Checks the official files by their md5, and downloads them only if asked to."""
        from torchvision.datasets import CIFAR100
        from torchvision.datasets.utils import check_integrity

        if self.download:
            try:
                CIFAR100(self.root, download=True)
            except (OSError, RuntimeError) as error:
                raise InputError(f"CIFAR-100 could not be downloaded to {self.root!r}: {error}") from error
        folder = Path(self.root) / CIFAR100.base_folder
        files = [*CIFAR100.train_list, *CIFAR100.test_list, [CIFAR100.meta["filename"], CIFAR100.meta["md5"]]]
        for file, md5 in files:
            if not (folder / file).is_file():
                raise InputError(
                    f"{folder / file} is missing: give the folder that holds cifar-100-python with "
                    "--data.root, or --data.download=true"
                )
            if not check_integrity(str(folder / file), md5):
                raise InputError(
                    f"{folder / file} is corrupt (its md5 is not {md5}): delete it and fetch it again"
                )

    def read(self) -> None:
        from torchvision.datasets import CIFAR100

        self.prepare_data()
        train, test = (CIFAR100(self.root, train=part) for part in (True, False))
        self.class_names = train.classes
        pixels = np.concatenate([train.data, test.data])
        self.images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        self.labels = torch.tensor(train.targets + test.targets)
        counts = class_counts(self.profile)
        kept = torch.from_numpy(keep_counts(np.array(train.targets), counts, self.subset_seed))
        self.positions = {"train": kept} | self._held_out(kept)

    def _held_out(self, kept: torch.Tensor) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        if self.test_images == "data_shunt":
            order = 50_000 + torch.randperm(10_000, generator=generator)
            test, held_out = order[:8_000], order[8_000:]
        else:
            unused = torch.ones(50_000, dtype=torch.bool)
            unused[kept] = False
            unused = unused.nonzero().squeeze(1)
            held_out = unused[torch.randperm(len(unused), generator=generator)[:2_000]]
            test = torch.arange(50_000, 60_000)
        if self.distill_split == "train":
            return {"val": held_out, "test": test}
        return {"pool": held_out[:1_000], "val": held_out[1_000:], "test": test}
