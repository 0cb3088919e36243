"""Captioned images: COCO, Flickr30k, Flickr8k."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader

from kcm_lightning.data.augment import random_crop, random_flip
from kcm_lightning.data.base import Batch, CaptionDataModule, DistillSplit
from kcm_lightning.data.caption_batches import CaptionBatches
from kcm_lightning.data.caption_files import (
    SPLITS,
    CaptionedImage,
    dataset_name,
    in_words,
    name_within,
    read_all,
)
from kcm_lightning.data.contents import content_id, digest
from kcm_lightning.data.download import fetch_and_unpack
from kcm_lightning.data.image_store import (
    ImageStore,
    as_it_is_now,
    image_files,
    missing_or_damaged,
    shrunken,
    state_of,
)
from kcm_lightning.data.images import normalize
from kcm_lightning.data.own_inputs import check_list
from kcm_lightning.data.vocabulary import Vocabulary
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import check_path
from kcm_lightning.utils.hugging_face import from_pretrained
from kcm_lightning.utils.image_io import known_as, plain_path
from kcm_lightning.utils.json_lines import read_json_lines
from kcm_lightning.utils.tokens import PADDING

ZIPS = {  # and what they unpack to; Karpathy's split of COCO is of the images of 2014
    "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip": "dataset_coco.json",
    "http://images.cocodataset.org/zips/train2014.zip": "train2014",
    "http://images.cocodataset.org/zips/val2014.zip": "val2014",
}


class MSCOCO(CaptionDataModule):
    """Images with captions, in Karpathy's format or COCO's own.

    Caption files with COCO's or Karpathy's names are taken for theirs. An image's sample id is a hash of its
    path within `root`. Images are decoded once, to their middle square. What is left out (images of other
    splits than train, val and test, without a caption, missing or damaged; captions without a word, or whose
    id and text are there twice) is counted and said.

    Args:
        root: folder of the data.
        captions: Karpathy's file in it (`dataset_coco.json`, `dataset_flickr30k.json`,
            `dataset_flickr8k.json`).
        annotations: instead of that, COCO's annotation file of each split (train, val, test), each in `root`;
            the images of `captions_val2017.json` are in `val2017`. Without test, every other image of val is
            tested on.
        images: folder in `root` that Karpathy's file names are relative to; by default `root` itself.
        answered: file of JSON lines with `filename`, with or without folders: other images of val and test
            are left out, and counted. For large models whose answers are recorded. By default nothing is left
            out.
        download: whether to fetch COCO's images of 2014 (19 GB) and Karpathy's files into `root`.
        bad_images: what to do about missing and damaged images: "stop", the default, or "skip" them.
        image_size: height and width in pixels that the small models see.
        tokenizer: hub name or folder of the large model, whose tokens the captions are written in; null, the
            default, for words.
        vocab_size: numbers that stand for the most frequent words or tokens of the training captions, four of
            them special.
        max_length: tokens of a caption at most, its end counted; longer ones are cut off.
        batch_size: training images a step and process.
        eval_batch_size: images a step where nothing is trained.
        distill_split: images that the student is distilled on: "train", the default; "pool", the first half
            of val, captions unused, which validation then goes without; or "both".
        predict_folder: folder of images that `predict` captions; null, the default, for those of the test
            split.
        prepared: folder for the decoded images; made on the first run.
    """

    batches: CaptionBatches
    vocab_size: int
    mean, std = (0.481, 0.458, 0.408), (0.269, 0.261, 0.276)

    def __init__(
        self,
        root: str = "data/coco",
        captions: str = "dataset_coco.json",
        annotations: dict[str, str] | None = None,
        images: str = "",
        answered: str | None = None,
        download: bool = False,
        bad_images: Literal["stop", "skip"] = "stop",
        image_size: int = 96,
        tokenizer: str | None = None,
        vocab_size: int = 8000,
        max_length: int = 20,
        batch_size: int = 64,
        eval_batch_size: int = 128,
        distill_split: DistillSplit = "train",
        predict_folder: str | None = None,
        prepared: str = "runs/prepared",
    ):
        super().__init__(batch_size, eval_batch_size, distill_split)
        if image_size < 16 or max_length < 2 or vocab_size < 5:
            raise InputError(
                "--data: image_size must be at least 16, max_length at least 2, vocab_size at least 5"
            )
        if unknown := ", ".join(set(annotations or {}) - set(SPLITS)):
            raise InputError(f"--data.annotations.{unknown}: the splits are {', '.join(SPLITS)}")
        for option, path in (("root", root), ("predict_folder", predict_folder), ("prepared", prepared)):
            check_path(f"--data.{option}", path or "")
        self.root, self.captions, self.annotations, self.images_in = Path(root), captions, annotations, images
        self.answered, self.download, self.bad_images = answered, download, bad_images
        self.image_size, self.tokenizer = image_size, tokenizer
        self.vocab_size, self.max_length = vocab_size, max_length
        self.predict_folder, self.prepared = predict_folder, Path(prepared)
        self.unreadable: dict[Path, str] = {}

    @property
    def title(self) -> str:
        left_out = in_words(self.left_out)
        return self.name + (f" (left out: {left_out})" if left_out else "")

    @cached_property
    def name(self) -> str:  # type: ignore[override]  # known by the files, once they are there
        return dataset_name(self.root, sorted((self.annotations or {"": self.captions}).values()))

    def prepare_data(self) -> None:
        """Fetches the data if asked to, and decodes every image once."""
        if self.download:
            for url, gives in ZIPS.items():
                fetch_and_unpack(url, self.root, gives)
        images, _ = self._read()
        self._decoded([image.path for image in images])

    def _read(self) -> tuple[list[CaptionedImage], Counter[str]]:
        return read_all(self.root, self.captions, self.annotations, self.images_in)

    def _decoded(self, paths: list[Path]) -> ImageStore:
        """The pixels of images, in a folder named by all that makes a difference to them."""
        states = [(str(path), *state_of(path)) for path in paths]
        return ImageStore.made_once(self.prepared, states, paths, self.image_size)

    def setup(self, stage: str | None = None) -> None:
        if hasattr(self, "batches"):
            return
        images, left_out = self._read()
        store = self._decoded([image.path for image in images])
        self._refuse_bad({images[number].path: why for number, why in store.bad.items()})
        rows = self._usable(images, set(store.bad), left_out)
        self.positions = {split: torch.tensor(numbers) for split, numbers in rows.items()}
        if self.distill_split != "train":
            val = self.positions["val"]
            self.positions |= {"pool": val[: len(val) // 2], "val": val[len(val) // 2 :]}
        words = (caption for number in rows["train"] for caption in images[number].captions)
        self.vocabulary = Vocabulary.of(words, self._load_tokenizer(), self.vocab_size)
        has = len(self.vocabulary)
        if has < self.vocab_size:
            raise InputError(
                f"the training captions make a vocabulary of {has}: set --data.vocab_size={has} or less, and "
                "--model.judge.vocab_size to the same"
            )
        names = [name_within(self.root, image.path) for image in images]
        self.batches = CaptionBatches(images, store, self._encoded(images), names)
        captions = (image.captions for image in images)
        self._references = dict(zip(self.batches.sample_ids.tolist(), captions, strict=True))

    def _usable(
        self, images: list[CaptionedImage], bad: set[int], left_out: Counter[str]
    ) -> dict[str, list[int]]:
        """Numbers of the images of each split that can be used; counts the others in `left_out`."""
        self.left_out = {"bad": len(bad), "uncaptioned": 0, "unanswered": 0} | dict(+left_out)
        known = self._answered()
        rows: dict[str, list[int]] = {split: [] for split in SPLITS}
        for number, image in enumerate(images):
            if number in bad:
                continue
            if not image.captions:
                self.left_out["uncaptioned"] += 1
            elif known is not None and image.split != "train" and known_as(image.path, known) is None:
                self.left_out["unanswered"] += 1
            else:
                rows[image.split].append(number)
        words = in_words(self.left_out)
        if empty := ", ".join(split for split, numbers in rows.items() if not numbers):
            raise InputError(f"{self.root}: no image of split {empty} can be used; left out: {words}")
        if words:
            rank_zero_warn(f"{self.name}: left out: {words}")
        return rows

    def vocabulary_of(self, units: list) -> Vocabulary:
        return Vocabulary(units, self._load_tokenizer())

    def _load_tokenizer(self) -> Any:
        if self.tokenizer is None:
            return None
        from transformers import AutoTokenizer

        return from_pretrained(AutoTokenizer, self.tokenizer, "--data.tokenizer")

    def _answered(self) -> set[str] | None:
        if self.answered is None:
            return None
        names = set()
        for number, row in read_json_lines(Path(self.answered), "--data.answered"):
            if not isinstance(row.get("filename"), str):
                raise InputError(f"--data.answered: {self.answered}, line {number}: it has no `filename`")
            names.add(plain_path(row["filename"]))
        return names

    def _encoded(self, images: list[CaptionedImage]) -> Tensor:
        most = max(len(image.captions) for image in images)
        tokens = torch.full((len(images), most, self.max_length), PADDING)
        for number, image in enumerate(images):
            for place, caption in enumerate(image.captions):
                encoded = self.vocabulary.encode(caption, self.max_length)
                tokens[number, place, : len(encoded)] = torch.tensor(encoded)
        return tokens

    def _refuse_bad(self, bad: dict[Path, str]) -> None:
        if bad and self.bad_images == "stop":
            raise InputError(missing_or_damaged(bad, "; --data.bad_images=skip leaves them out"))
        if bad:
            rank_zero_warn(missing_or_damaged(bad, ": they are left out"))

    def predict_dataloader(self) -> DataLoader:
        """The images of `predict_folder`, or the test split; what cannot be read is named and left out."""
        if self.predict_folder is None:
            return super().predict_dataloader()
        paths = image_files(Path(self.predict_folder), "--data.predict_folder")
        store = self._decoded(paths)
        self.unreadable = {paths[number]: why for number, why in store.bad.items()}
        kept = torch.tensor([n for n in range(len(paths)) if n not in store.bad], dtype=torch.long)
        if not len(kept):
            raise InputError(
                f"--data.predict_folder: no image in {self.predict_folder!r} can be read: "
                + missing_or_damaged(self.unreadable)
            )
        images = [CaptionedImage(path, [], "predict") for path in paths]
        names = [as_it_is_now(path) for path in paths]
        tokens = torch.zeros(len(paths), 1, self.max_length, dtype=torch.long)
        whole, self.batches = self.batches, CaptionBatches(images, store, tokens, names)
        try:
            return self._loader(kept)
        finally:
            self.batches = whole

    def references(self, sample_ids: Tensor) -> list[list[str]]:
        return [self._references[own] for own in sample_ids.tolist()]

    def splits(self) -> dict[str, list[int]]:
        return {
            split: self.batches.sample_ids[positions].tolist() for split, positions in self.positions.items()
        }

    def contents(self, split: str) -> Tensor:
        return self.batches.store.contents[self.positions[split]]

    def fingerprint(self) -> dict:
        result: dict = {"left_out": self.left_out, "vocabulary": len(self.vocabulary)}
        for split, positions in self.positions.items():
            said = [repr(self.batches.images[position].captions) for position in positions.tolist()]
            captions = torch.tensor([content_id(of_one.encode()) for of_one in said])
            result[split] = {"samples": len(said), "sha256": digest(self.contents(split), captions)}
        return result

    def view(self, batch: Batch, augment: bool) -> Batch:
        """Adds `small`, the images, and `target`, a caption of each: any in training, else the first."""
        pixels, captions = batch["pixels"], batch["captions"]
        if augment:
            pixels = random_flip(random_crop(pixels, self.image_size // 12))
            known = (captions[..., 0] != PADDING).float()  # (B, captions)
            chosen = known.clamp_min(1e-9).multinomial(1)
            target = captions.gather(1, chosen.unsqueeze(-1).expand(-1, 1, captions.shape[-1])).squeeze(1)
        else:
            target = captions[:, 0]
        return {**batch, "small": normalize(pixels, self.mean, self.std), "target": target}

    def batch_of(self, inputs: Sequence[str | Path]) -> Batch:
        """A batch of a user's images, by their paths."""
        check_list(inputs, (str, Path), "images must be a list of paths")
        pixels = shrunken([Path(path) for path in inputs], self.image_size)
        return {"large": [str(path) for path in inputs], "small": normalize(pixels, self.mean, self.std)}
