"""What a fit was made on: kept in the run folder as `data.json`, and compared by every later command.

Data can change under one name. So a run keeps a hash of each sample that it was trained, distilled or chosen
on, and no later command reports or calibrates on one of them.
"""

import base64
import hashlib
import uuid
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from kcm_lightning.data.base import KCMDataModule
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import write_json
from kcm_lightning.utils.plain_files import read_json

FILE = "data.json"
JUDGE = "judge"  # what the judge of another run, which this one takes over, was trained on
# what the figures of a split must not have been trained or chosen on
_USED = {"test": ("train", "pool", JUDGE, "val"), "val": ("train", "pool", JUDGE)}

_NOTHING = torch.empty(0, dtype=torch.long)


def run_of(checkpoint: str | Path | None) -> Path | None:
    """The run folder of a checkpoint that lies in one, with what it keeps of its data."""
    folder = Path(checkpoint).resolve().parent if checkpoint else Path()
    return folder.parent if folder.name == "checkpoints" and (folder.parent / FILE).is_file() else None


def checkpoint_facts(path: str | Path | None) -> dict[str, str]:
    """Name and hash of a checkpoint, and the id of its run where that is known; nothing without a file."""
    if path is None or not Path(path).is_file():
        return {}
    with Path(path).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    run = run_of(path)
    run_id = None if run is None else FitRecord(run / FILE).run_id
    return {
        "checkpoint": Path(path).name,
        "checkpoint_sha256": found,
        **({"run_id": run_id} if run_id else {}),
    }


def split_digests(fingerprint: Any) -> dict[str, str]:
    """Size and hash of each split, out of what `KCMDataModule.fingerprint` gives."""
    splits = fingerprint.items() if isinstance(fingerprint, dict) else ()
    known = {split: own for split, own in splits if isinstance(own, dict) and "sha256" in own}
    return {split: f"{own.get('samples')} samples, {own['sha256']}" for split, own in known.items()}


class FitRecord:
    """What a run keeps of the data that it was fitted on.

    Args:
        file: its `data.json`.

    Raises:
        InputError: the file is damaged.
    """

    def __init__(self, file: Path):
        self.file, self.known = file, read_json(file, largest=None)
        self.digests = split_digests(self.known.get("fingerprint"))
        self.large_model: str | None = self.known.get("large_model")
        run_id = self.known.get("run_id")
        self.run_id: str | None = run_id if isinstance(run_id, str) else None

    @property
    def is_complete(self) -> bool:
        """Whether it tells samples by their content, which earlier versions did not keep."""
        return isinstance(self.known.get("contents"), dict) and bool(self.digests)

    def contents(self, split: str) -> Tensor:
        """Hashes of a split's samples; none where there is no such split."""
        try:
            numbers = np.frombuffer(base64.b64decode(self.known["contents"].get(split, "")), dtype="<i8")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{self.file} is damaged: contents of {split}") from error
        return torch.from_numpy(numbers.astype(np.int64))

    def changed(self, data: KCMDataModule) -> list[str]:
        """What of the data is another now, a few words a split."""
        if not self.digests:
            then = self.known.get("splits") or {}
            return [
                f"{split} is another one" for split, ids in data.splits().items() if ids != then.get(split)
            ]
        now = split_digests(data.fingerprint())
        return [
            f"{split} had {self.digests.get(split, 'no samples')}, has {now.get(split, 'no samples')}"
            for split in sorted({*now, *self.digests})
            if now.get(split) != self.digests.get(split)
        ]

    def used(self, data: KCMDataModule, split: str, by: tuple[str, ...]) -> str:
        """How many samples of a split of now were in splits of the fit, in words; empty for none.

        What was in this split then does not count, also where it is a copy of a sample of another one.
        """
        now = data.contents(split)
        fresh = now[~torch.isin(now, self.contents(split))]
        by_split = {name: torch.isin(fresh, self.contents(name)) for name in by}
        total = int(torch.stack(list(by_split.values())).any(0).sum())
        counts = ", ".join(f"{name} {int(own.sum())}" for name, own in by_split.items() if own.any())
        return f"{total} of {len(now)} {split} samples ({counts})" if total else ""


def keep(
    folder: Path,
    data: KCMDataModule,
    large_model: str | None,
    judge: Tensor,
    resumed: str | Path | None = None,
) -> None:
    """Writes what a fit is made on; what a run began with stays as it was written then.

    Args:
        folder: the run folder.
        data: the data module, set up.
        large_model: identity of the large model; None where there is none.
        judge: hashes of what a judge that is taken over was trained on.
        resumed: checkpoint that is resumed, which `check_resumed` has looked at; None for a fresh fit.
    """
    run = run_of(resumed)
    began = None if run is None else FitRecord(run / FILE)
    if began is not None and began.is_complete and run == folder.resolve():
        return
    contents = {split: data.contents(split) for split in data.positions} | {JUDGE: judge}
    copies = int(torch.isin(contents["test"], contents["train"]).sum())
    if copies:
        rank_zero_warn(
            f"{copies} of {len(contents['test'])} test samples are copies of training samples: `test` will "
            "count what was seen"
        )
    known = {
        "run_id": (began and began.run_id) or uuid.uuid4().hex[:16],  # of its checkpoints and thresholds
        "class_names": data.class_names,
        "class_counts": data.class_counts.tolist() if data.class_names else None,
        "image_shape": data.image_shape,
        "fingerprint": data.fingerprint(),
        "large_model": large_model,
        "splits": data.splits(),
        "contents": {split: _packed(own) for split, own in contents.items()},
    }
    write_json(folder / FILE, known)


def _packed(numbers: Tensor) -> str:
    """Whole numbers in a JSON that stays small: base64 of eight bytes each."""
    return base64.b64encode(numbers.sort().values.numpy().astype("<i8").tobytes()).decode()


def check_resumed(checkpoint: str | Path, data: KCMDataModule) -> Tensor:
    """Refuses to go on training on other data.

    Args:
        checkpoint: what is resumed.
        data: the data module, set up.

    Returns:
        Hashes of what the run's judge was trained on where it was taken over from another run.

    Raises:
        InputError: the data are not those that the run began with.
    """
    run = run_of(checkpoint)
    if run is None:
        return _NOTHING
    record = FitRecord(run / FILE)
    if changed := record.changed(data):
        raise InputError(
            f"the data have changed since {run} began ({'; '.join(changed[:3])}): bring them back, or begin "
            "a new run"
        )
    return record.contents(JUDGE) if record.is_complete else _NOTHING


def check_large_model(checkpoint: str | Path, large_model: str | None) -> None:
    """Refuses to go on distilling from another large model.

    Args:
        checkpoint: what is resumed.
        large_model: identity of the large model; None where there is none.

    Raises:
        InputError: it is not the one that the run began with; what differs of it is named.
    """
    run = run_of(checkpoint)
    record = None if run is None else FitRecord(run / FILE)
    if record is None or "large_model" not in record.known or record.large_model == large_model:
        return
    then, now = (str(own).split() for own in (record.large_model, large_model))
    differ = [pair for pair in zip_longest(then, now, fillvalue="nothing") if pair[0] != pair[1]]
    said = ", ".join(f"{one[:40]} then, {other[:40]} now" for one, other in differ[:3])
    raise InputError(
        f"the large model, its weights or its options are not those that {run} began with ({then[0]}: "
        f"{said}): bring them back, or begin a new run"
    )


def trained_on_by_judge(checkpoint: str | None, data: KCMDataModule) -> Tensor:
    """Hashes of what the judge of another run was trained on.

    Args:
        checkpoint: checkpoint of that run; None where no judge is taken over.
        data: the data module, set up.

    Raises:
        InputError: the judge was trained on samples that are tested on now.
    """
    if checkpoint is None:
        return _NOTHING
    run = run_of(checkpoint)
    record = None if run is None else FitRecord(run / FILE)
    if record is None or not record.is_complete:
        rank_zero_warn(
            f"--model.judge_ckpt: nothing is known of what the judge in {checkpoint} was trained on: that "
            "none of it is tested on cannot be checked"
        )
        return _NOTHING
    for split in ("test", "val"):
        if used := record.used(data, split, ("train", JUDGE)):
            said = f"the judge in {checkpoint} was trained on {used}"
            if split == "test":
                raise InputError(
                    f"--model.judge_ckpt: {said}: bring back the data of its run, or train a judge"
                )
            rank_zero_warn(said)
    return torch.cat([record.contents("train"), record.contents(JUDGE)]).unique()


def check_split(
    checkpoint: str | Path, data: KCMDataModule, split: str, large_model: str | None = None
) -> dict[str, str]:
    """Refuses to report or to calibrate on what a run was fitted on.

    Args:
        checkpoint: the checkpoint of the run.
        data: the data module, set up.
        split: "test", or "val" for thresholds.
        large_model: identity of the large model; None where there is none.

    Returns:
        Of the fit, what is another now: size and hash of splits by "data.splits.NAME", and "large_model".

    Raises:
        InputError: the data have changed, and samples of the split were used in the fit.
    """
    run = run_of(checkpoint)
    record = None if run is None else FitRecord(run / FILE)
    if record is None or not record.is_complete:
        if record is None or record.changed(data):
            rank_zero_warn(
                f"nothing is known of the data that {checkpoint} was fitted on: that none of the "
                f"{len(data.positions[split])} {split} samples is among them cannot be checked"
            )
        return {}
    now = split_digests(data.fingerprint())
    if now.get(split) != record.digests.get(split):
        if used := record.used(data, split, _USED[split]):
            raise InputError(
                f"the data have changed since the fit: {used} were used in it ({record.file}); bring its "
                "data back, or fit again. To measure on them on purpose, copy the checkpoint out of the run "
                "folder: --ckpt_path COPY --run FOLDER"
            )
        then = record.digests.get(split, "no samples")
        rank_zero_warn(
            f"the {split} split is not the one of the fit ({then} then; {now.get(split)} now); none of its "
            "samples was used in the fit"
        )
    differ = {name for name in {*now, *record.digests} if now.get(name) != record.digests.get(name)}
    other = {f"data.splits.{name}": record.digests.get(name, "none") for name in sorted(differ)}
    if record.large_model != large_model:
        other["large_model"] = str(record.large_model)
    return other
