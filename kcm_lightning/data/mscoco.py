"""Captioned pictures: COCO, Flickr30k, Flickr8k."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader

from kcm_lightning.data.augment import normalise, random_crop, random_flip
from kcm_lightning.data.base import DistillSplit, KCMDataModule
from kcm_lightning.data.caption_batches import CaptionBatches
from kcm_lightning.data.caption_files import Picture, read_karpathy, read_official
from kcm_lightning.data.download import fetch_and_unpack
from kcm_lightning.data.picture_store import PictureStore, shrink
from kcm_lightning.data.vocabulary import Vocabulary
from kcm_lightning.errors import InputError
from kcm_lightning.hugging_face import from_pretrained
from kcm_lightning.json_lines import read_json_lines
from kcm_lightning.pictures import known_as, shown
from kcm_lightning.words import PADDING

ZIPS = {  # and what they unpack to; Karpathy's split of COCO is of the pictures of 2014
    "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip": "dataset_coco.json",
    "http://images.cocodataset.org/zips/train2014.zip": "train2014",
    "http://images.cocodataset.org/zips/val2014.zip": "val2014",
}
PUBLISHED = {"dataset_coco": "coco", "dataset_flickr30k": "flickr30k", "dataset_flickr8k": "flickr8k"}
PUBLISHED |= dict.fromkeys((f"captions_{split}{year}" for split in ("train", "val", "test") for year in (2014, 2017)), "coco")
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


class MSCOCO(KCMDataModule):
    """Pictures with captions, in Karpathy's format or COCO's own.

    Caption files with COCO's or Karpathy's names are taken for theirs. A picture's stable place is a hash of its path within
    `root`. Pictures are decoded once, to their middle square.

    Args:
        root: folder of the data.
        captions: Karpathy's file in it (`dataset_coco.json`, `dataset_flickr30k.json`, `dataset_flickr8k.json`).
        annotations: instead of that, COCO's annotation file of each split (train, val, test), each in `root`; the pictures of
            `captions_val2017.json` are in `val2017`. Without test, every other picture of val is tested on.
        images: folder in `root` that Karpathy's file names are relative to.
        answered: JSON lines with `filename`, with or without folders: other pictures of val and test are left out, and counted.
            For large models whose answers are recorded.
        download: fetch COCO's pictures of 2014 (19 GB) and Karpathy's files into `root`.
        bad_pictures: "stop" at missing and damaged pictures, or "skip" them.
        image_size: height and width that the small models see.
        tokenizer: hub name or folder of the large model, whose tokens the captions are written in; null for words.
        vocab_size: numbers that stand for the most frequent words or tokens of the training captions, four of them special.
        longest: tokens of a caption, its end counted.
        batch_size, eval_batch_size: pictures a step.
        distill_split: "train"; "pool", the first half of val, captions unused, which validation then goes without; or "both".
        predict_folder: pictures that `predict` captions; null for those of the test split.
        prepared: folder for the decoded pictures; made on the first run.
    """

    class_names: ClassVar[list[str]] = []  # captions have none
    mean, std = (0.481, 0.458, 0.408), (0.269, 0.261, 0.276)

    def __init__(
        self,
        root: str = "data/coco",
        captions: str = "dataset_coco.json",
        annotations: dict[str, str] | None = None,
        images: str = "",
        answered: str | None = None,
        download: bool = False,
        bad_pictures: Literal["stop", "skip"] = "stop",
        image_size: int = 96,
        tokenizer: str | None = None,
        vocab_size: int = 8000,
        longest: int = 20,
        batch_size: int = 64,
        eval_batch_size: int = 128,
        distill_split: DistillSplit = "train",
        predict_folder: str | None = None,
        prepared: str = "runs/prepared",
    ):
        super().__init__(batch_size, eval_batch_size, distill_split)
        if image_size < 16 or longest < 2 or vocab_size < 5:
            raise InputError("--data: image_size must be at least 16, longest at least 2, vocab_size at least 5")
        self.root, self.captions, self.annotations, self.images_in = Path(root), captions, annotations, images
        self.answered, self.download, self.bad_pictures = answered, download, bad_pictures
        self.image_size, self.tokenizer, self.vocab_size, self.longest = image_size, tokenizer, vocab_size, longest
        self.predict_folder, self.prepared = predict_folder, Path(prepared)
        self.batches: CaptionBatches | None = None
        self.unreadable: list[Path] = []  # pictures of `predict_folder` without a caption

    @property
    def title(self) -> str:
        left_out = _in_words(self.left_out)
        return self.name + (f" (left out: {left_out})" if left_out else "")

    @cached_property
    def name(self) -> str:
        files = sorted((self.annotations or {"": self.captions}).values())
        stems = [Path(file).stem for file in files]
        if all(stem in PUBLISHED for stem in stems):
            return PUBLISHED[stems[0]]
        # sets of one's own may share file names, and their pictures too
        digest = hashlib.sha256(b"".join((self.root / file).read_bytes() for file in files)).hexdigest()[:8]
        return f"{stems[0].removeprefix('dataset_')}-{digest}"

    def prepare_data(self) -> None:
        """Fetches the data if asked to, and decodes every picture once."""
        if self.download:
            for url, gives in ZIPS.items():
                fetch_and_unpack(url, self.root, gives)
        self._decoded([picture.path for picture in self._read()])

    def _read(self) -> list[Picture]:
        if self.annotations is None:
            pictures = read_karpathy(self.root / self.captions, self.root / self.images_in)
        else:
            pictures = []
            for split, file in self.annotations.items():
                folder = self.root / Path(file).stem.removeprefix("captions_")
                pictures += read_official(self.root / file, folder, split)
            if "test" not in self.annotations:  # COCO publishes no captions of its own test split
                for picture in [picture for picture in pictures if picture.split == "val"][1::2]:
                    picture.split = "test"
        missing = {"train", "val", "test"} - {picture.split for picture in pictures}
        if missing:
            raise InputError(f"{self.root}: there are no pictures of split {', '.join(sorted(missing))}")
        return pictures

    def _decoded(self, paths: list[Path]) -> PictureStore:
        """The pixels of pictures, in a folder named by all that makes a difference to them."""
        states = [(str(path), *_state(path)) for path in paths]
        digest = hashlib.sha256(repr([self.image_size, *states]).encode()).hexdigest()[:16]
        folder = self.prepared / f"pictures-{digest}"
        if not (folder / "facts.json").is_file():
            PictureStore.make(folder, paths, self.image_size)
        return PictureStore(folder)

    def setup(self, stage: str | None = None) -> None:
        if self.batches is not None:
            return
        pictures = self._read()
        store = self._decoded([picture.path for picture in pictures])
        self._refuse_bad([pictures[number].path for number in store.bad])
        self.left_out = {"bad": len(store.bad), "uncaptioned": 0, "unanswered": 0}
        bad, known = set(store.bad), self._answered()
        rows: dict[str, list[int]] = {"train": [], "val": [], "test": []}
        for number, picture in enumerate(pictures):
            if number in bad or picture.split not in rows:
                continue
            if not picture.captions:
                self.left_out["uncaptioned"] += 1
                continue
            if known is not None and picture.split != "train" and known_as(picture.path, known) is None:
                self.left_out["unanswered"] += 1
                continue
            rows[picture.split].append(number)
        empty = ", ".join(split for split, numbers in rows.items() if not numbers)
        if empty:
            raise InputError(f"{self.root}: no picture of split {empty} can be used; left out: {_in_words(self.left_out)}")
        self.positions = {split: torch.tensor(numbers) for split, numbers in rows.items()}
        if self.distill_split != "train":
            val = self.positions["val"]
            self.positions |= {"pool": val[: len(val) // 2], "val": val[len(val) // 2 :]}
        words = (caption for number in rows["train"] for caption in pictures[number].captions)
        self.vocabulary = Vocabulary.of(words, self._load_tokenizer(), self.vocab_size)
        has = len(self.vocabulary)
        if has < self.vocab_size:
            raise InputError(
                f"the training captions make a vocabulary of {has}: set --data.vocab_size={has} or less, and "
                "--model.judge.vocab_size to the same"
            )
        names = [picture.path.relative_to(self.root).as_posix() for picture in pictures]
        self.batches = CaptionBatches(pictures, store, self._encoded(pictures), names)
        if len(self.batches.places.unique()) < len(pictures):
            raise InputError(f"{self.root}: some pictures are named twice in the caption files")
        self._references = dict(zip(self.batches.places.tolist(), (picture.captions for picture in pictures), strict=True))

    def vocabulary_of(self, units: list) -> Vocabulary:
        """The vocabulary of a trained run, by the units that its checkpoint has."""
        return Vocabulary(units, self._load_tokenizer())

    def _load_tokenizer(self):
        if self.tokenizer is None:
            return None
        from transformers import AutoTokenizer

        return from_pretrained(AutoTokenizer, self.tokenizer, "--data.tokenizer")

    def _answered(self) -> set[str] | None:
        if self.answered is None:
            return None
        rows = read_json_lines(Path(self.answered), "--data.answered")
        return {str(row.get("filename")) for _, row in rows}

    def _encoded(self, pictures: list[Picture]) -> Tensor:
        most = max(len(picture.captions) for picture in pictures)
        tokens = torch.full((len(pictures), most, self.longest), PADDING)
        for number, picture in enumerate(pictures):
            for place, caption in enumerate(picture.captions):
                encoded = self.vocabulary.encode(caption, self.longest)
                tokens[number, place, : len(encoded)] = torch.tensor(encoded)
        return tokens

    def _refuse_bad(self, paths: list[Path]) -> None:
        if not paths:
            return
        listed = ", ".join(shown(path) for path in paths[:5]) + (", ..." if len(paths) > 5 else "")
        if self.bad_pictures == "stop":
            raise InputError(f"{len(paths)} pictures are missing or damaged: {listed}; --data.bad_pictures=skip leaves them out")
        rank_zero_warn(f"{len(paths)} pictures are missing or damaged and are left out: {listed}")

    def predict_dataloader(self) -> DataLoader:
        """The pictures of `predict_folder`, or the test split. Pictures that cannot be read are named and left out."""
        if self.predict_folder is None:
            return super().predict_dataloader()
        folder = Path(self.predict_folder)
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES) if folder.is_dir() else []
        if not paths:
            raise InputError(f"--data.predict_folder: there are no pictures in {self.predict_folder!r}")
        store = self._decoded(paths)
        bad = set(store.bad)
        self.unreadable = [paths[number] for number in store.bad]
        kept = torch.tensor([number for number in range(len(paths)) if number not in bad], dtype=torch.long)
        if not len(kept):
            listed = ", ".join(shown(path) for path in paths[:5])
            raise InputError(f"--data.predict_folder: no picture in {self.predict_folder!r} can be read: {listed}")
        pictures = [Picture(path, [], "predict") for path in paths]
        # a folder's pictures may change while its name stays: size and time tell a cache
        names = [" ".join(map(str, (shown(path.resolve()), *_state(path)))) for path in paths]
        tokens = torch.zeros(len(paths), 1, self.longest, dtype=torch.long)
        whole, self.batches = self.batches, CaptionBatches(pictures, store, tokens, names)
        try:
            return self._loader(kept)
        finally:
            self.batches = whole

    def references(self, places: Tensor) -> list[list[str]]:
        """What people said of pictures, by their stable places."""
        return [self._references[place] for place in places.tolist()]

    def splits(self) -> dict[str, list[int]]:
        return {split: self.batches.places[positions].tolist() for split, positions in self.positions.items()}

    def fingerprint(self) -> dict:
        result: dict = {"left_out": self.left_out, "vocabulary": len(self.vocabulary)}
        for split, positions in self.positions.items():
            used = [self.batches.pictures[p] for p in positions.tolist()]
            names = sorted(f"{picture.path.name}: {picture.captions}" for picture in used)
            result[split] = {"samples": len(names), "sha256": hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]}
        return result

    def view(self, batch: dict, augment: bool) -> dict:
        """Adds `small`, the normalised pictures, and `target`, one caption of each: any in training, else the first."""
        pixels, captions = batch["pixels"], batch["captions"]
        if augment:
            pixels = random_flip(random_crop(pixels, self.image_size // 12))
            known = (captions[..., 0] != PADDING).float()  # (B, captions)
            chosen = known.clamp_min(1e-9).multinomial(1)
            target = captions.gather(1, chosen.unsqueeze(-1).expand(-1, 1, captions.shape[-1])).squeeze(1)
        else:
            target = captions[:, 0]
        return {**batch, "small": normalise(pixels, self.mean, self.std), "target": target}

    def batch_of(self, inputs: list[str]) -> dict:
        """A batch of a user's pictures, by their paths."""
        if isinstance(inputs, str | Path) or not inputs:
            raise InputError("pictures must be a list of paths")
        inputs = [str(path) for path in inputs]
        pixels = [shrink(Path(path), self.image_size) for path in inputs]
        bad = [path for path, own in zip(inputs, pixels, strict=True) if own is None]
        if bad:
            raise InputError(f"{len(bad)} pictures are missing or damaged: {', '.join(bad[:5])}")
        stacked = torch.stack([torch.from_numpy(own.copy()) for own in pixels])
        return {"large": list(inputs), "small": normalise(stacked, self.mean, self.std)}


def _in_words(left_out: dict[str, int]) -> str:
    return ", ".join(f"{count} {why}" for why, count in left_out.items() if count)


def _state(path: Path) -> tuple[int, ...]:
    """Size and time of a file; nothing where there is none."""
    try:
        state = path.stat()
    except OSError:
        return ()
    return state.st_size, state.st_mtime_ns
