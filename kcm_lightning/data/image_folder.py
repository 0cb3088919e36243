"""Your own images, in folders or named by a table."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import Dataset

from kcm_lightning.data.base import Batch, DistillSplit
from kcm_lightning.data.contents import digest
from kcm_lightning.data.image_listing import Listing, Paths, list_folder, list_table
from kcm_lightning.data.image_store import ImageStore, missing_or_damaged, shrunken
from kcm_lightning.data.images import AugmentedImages
from kcm_lightning.data.longtail import named_regions
from kcm_lightning.data.own_inputs import check_list
from kcm_lightning.data.split_labels import check_and_name, strictest_of_copies
from kcm_lightning.data.split_names import SPLITS, UNLABELLED, positions_of
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import check_path
from kcm_lightning.utils.table_files import SUFFIXES, read_table


class FileBatches(Dataset):
    """Whole batches of image files: small squares out of a store, and the paths for the large model.

    Args:
        store: squares of all images.
        paths: their files.
        labels: their classes, shape `(N,)`.
    """

    def __init__(self, store: ImageStore, paths: Paths, labels: Tensor):
        self.store, self.paths, self.labels = store, paths, labels

    def __getitem__(self, positions: Tensor) -> Batch:
        return {
            "pixels": self.store[positions],
            "large": [self.paths[place] for place in positions.tolist()],
            "target": self.labels[positions],
            "index": self.store.contents[positions],
        }


class ImageFolder(AugmentedImages):
    """Images of any sizes in any number of classes.

    The small models see each image's middle square, decoded once. The large model gets the files, in their
    own size. An image's sample id is a hash of its file. Of copies of a file the first counts, on the
    strictest side that one of them is on: what is tested on is trained on nowhere.

    Args:
        root: folder with `train/CLASS/IMAGE` and perhaps `val`, `test` (the same) and `unlabelled/IMAGE`;
            folder with `CLASS/IMAGE`; or a table (CSV, TSV, JSON lines or Parquet) of paths and labels. What
            is not parted yet is parted by a seed.
        image_size: height and width in pixels that the small models see.
        path: column of the path in a table, relative to the table's folder.
        label: column of the class in a table.
        split: column in a table that says train, val, test or unlabelled; null, the default, parts the images
            by a seed.
        class_names: table with the columns `folder` and `name`, for classes that are to be called otherwise
            than their folders (or labels); null, the default, takes those.
        bad_images: what to do about missing and damaged images: "stop", the default, or "skip" them.
        test_share: share of the images that is tested on, a fraction, where none are set aside for it.
        val_share: share of the images that is validated on, a fraction, where none are set aside for it.
        split_seed: another number parts the images otherwise.
        batch_size: training images a step and process.
        eval_batch_size: images a step where nothing is trained.
        distill_split: images that the student is distilled on: "train", the default; "pool", those without
            labels; or "both".
        distill_balance: how far distillation evens out the classes of the training split, from 0 (not at all)
            to 1 (each class equally often): an image is drawn with a frequency of 1 / (images of its class)
            ** distill_balance.
        crop: pixels of padding before the random crop; 0 for none.
        flip: whether to mirror images left to right at random.
        cutout: side of the square that is cut out, in pixels; 0 for none.
        rand_augment: operations of RandAugment; 0, the default, for none.
        rotation: largest random rotation to either side, in degrees; 0, the default, for none.
        prepared: folder for the decoded images; made on the first run.
    """

    batches: FileBatches
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's images

    def __init__(
        self,
        root: str,
        image_size: int = 64,
        path: str = "path",
        label: str = "label",
        split: str | None = None,
        class_names: str | None = None,
        bad_images: Literal["stop", "skip"] = "stop",
        test_share: float = 0.2,
        val_share: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 64,
        eval_batch_size: int = 256,
        distill_split: DistillSplit = "train",
        distill_balance: float = 0.0,
        crop: int = 4,
        flip: bool = True,
        cutout: int = 0,
        rand_augment: int = 0,
        rotation: float = 0.0,
        prepared: str = "runs/prepared",
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
        if image_size < 8:
            raise InputError(f"--data.image_size={image_size} must be at least 8")
        if not (0 < test_share < 1 and 0 < val_share < 1 and test_share + val_share < 1):
            raise InputError("--data: test_share and val_share must be above 0, and below 1 together")
        for option, value in (("root", root), ("prepared", prepared), ("class_names", class_names or "")):
            check_path(f"--data.{option}", value)
        self.root, self.image_size, self.image_shape = Path(root), image_size, (3, image_size, image_size)
        self.path, self.label, self.split, self.names_file = path, label, split, class_names
        self.bad_images, self.prepared = bad_images, Path(prepared)
        self.test_share, self.val_share, self.split_seed = test_share, val_share, split_seed
        self.name = self.root.resolve().stem
        self._listing: Listing | None = None

    def prepare_data(self) -> None:
        """Lists the images, and decodes every one once."""
        self._store(self._listed())

    def _listed(self) -> Listing:
        if self._listing is None:
            if self.root.is_dir():
                self._listing = list_folder(self.root)
            elif self.root.suffix.lower() in SUFFIXES:
                self._listing = list_table(self.root, column=self.path, label=self.label, split=self.split)
            else:
                raise InputError(
                    f"--data.root: {str(self.root)!r} is neither a folder nor a table ({', '.join(SUFFIXES)})"
                )
        return self._listing

    def _store(self, listing: Listing) -> ImageStore:
        recipe = [str(self.root.resolve()), listing.digest()]
        return ImageStore.made_once(self.prepared, recipe, listing.paths, self.image_size)

    def setup(self, stage: str | None = None) -> None:
        if hasattr(self, "batches"):
            return
        listing = self._listed()
        store = self._store(listing)
        table = {"label": np.array(listing.labels), "split": np.array(listing.splits)}
        self._leave_out_bad(store, listing.paths, table)
        by_seed = self._part(table, store.contents.numpy())
        names = check_and_name(table, listing.numbers, by_seed=by_seed)
        self.class_names = self._renamed(names)
        self.labels = torch.from_numpy(table["label"])
        self.positions = positions_of(torch.from_numpy(table["split"]))
        train = self.labels[self.positions["train"]]
        self.class_counts = torch.bincount(train, minlength=len(names))
        self.regions, self.region_names = named_regions(train, self.class_names)
        self.batches = FileBatches(store, listing.paths, self.labels)

    def _leave_out_bad(self, store: ImageStore, paths: Paths, table: dict[str, np.ndarray]) -> None:
        if not store.bad:
            return
        said = missing_or_damaged({paths[number]: why for number, why in store.bad.items()})
        if self.bad_images == "stop":
            raise InputError(f"{said}: repair or remove them, or leave them out with --data.bad_images=skip")
        rank_zero_warn(f"left out: {said}")
        table["split"][list(store.bad)] = SPLITS.index("unused")

    def _part(self, table: dict[str, np.ndarray], contents: np.ndarray) -> bool:
        """Parts by the files' hashes what the user has not parted; returns whether that is all."""
        split, train = table["split"], SPLITS.index("train")
        missing = {"val", "test"} - {SPLITS[number] for number in np.unique(split)}
        if missing:
            seed = int.from_bytes(hashlib.sha256(str(self.split_seed).encode()).digest()[:8]) | 1
            place = (contents.astype(np.uint64) * np.uint64(seed) >> np.uint64(1)) / 2**63
            test = self.test_share if "test" in missing else 0.0
            val = self.val_share if "val" in missing else 0.0
            split[(split == train) & (place < test)] = SPLITS.index("test")
            split[(split == train) & (place < test + val)] = SPLITS.index("val")
        copies, contradicting = strictest_of_copies(table, contents)
        if copies:
            rank_zero_warn(
                f"{self.root}: {copies:,} copies of other images, of which the first counts, on the "
                f"strictest side that one of them is on; {contradicting:,} of these with another label "
                "than it"
            )
        unlabelled = (table["label"] == UNLABELLED) & (split != SPLITS.index("unused"))
        rest = unlabelled & np.isin(split, [SPLITS.index("val"), SPLITS.index("test")])
        split[unlabelled & (split == train)] = SPLITS.index("pool")
        split[rest] = SPLITS.index("unused")
        return len(missing) == 2

    def _renamed(self, names: list[str]) -> list[str]:
        """The class names, those that a file has other names for replaced."""
        if self.names_file is None:
            return names
        rows = read_table(Path(self.names_file), "--data.class_names", ["folder", "name"])
        other = {str(row["folder"]).strip(): str(row["name"]).strip() for _, row in rows}
        if unknown := sorted(set(names) - set(other)):
            raise InputError(f"--data.class_names: {self.names_file} has no name for {unknown[0]!r}")
        renamed = [other[name] for name in names]
        if len(set(renamed)) < len(renamed) or not all(renamed):
            raise InputError(f"--data.class_names: {self.names_file} has a name twice, or an empty one")
        return renamed

    def splits(self) -> dict[str, list[int]]:
        return {split: self.contents(split).tolist() for split in self.positions}

    def contents(self, split: str) -> Tensor:
        return self.batches.store.contents[self.positions[split]]  # an image's sample id is its file's hash

    def fingerprint(self) -> dict:
        return {
            split: {
                "samples": len(positions),
                "sha256": digest(self.contents(split), self.labels[positions]),
            }
            for split, positions in self.positions.items()
        }

    def batch_of(self, inputs: Any) -> Batch:
        """A batch of image files, by their paths."""
        check_list(inputs, (str, Path), "images must be a list of paths")
        paths = [Path(path) for path in inputs]
        return self.view({"pixels": shrunken(paths, self.image_size), "large": paths}, augment=False)
