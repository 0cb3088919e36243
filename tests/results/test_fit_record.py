"""Data that grow or change under one name, between fit and test, between two runs, before a resumed one."""

import base64
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kcm_lightning.data.images import LongTailedImages
from kcm_lightning.results import fit_record
from kcm_lightning.results.fit_record import FitRecord, check_resumed, check_split, keep, trained_on_by_judge
from kcm_lightning.utils.errors import InputError

NOTHING = torch.empty(0, dtype=torch.long)


class Pile(LongTailedImages):
    """Images out of one pile: train, val and test by a drawing of lots, as a user's own data may be split."""

    name = "pile"
    mean = std = (0.5, 0.5, 0.5)

    def __init__(self, count: int, seed: int = 0, relabeled: int = 0, pool: bool = False):
        options = {"crop": 0, "flip": False, "cutout": 0, "rand_augment": 0}
        super().__init__(8, 8, "train", 0.0, **options)
        self.count, self.seed, self.relabeled, self.pool = count, seed, relabeled, pool
        self.setup()

    def read(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randint(0, 256, (1_000, 3, 4, 4), generator=generator).to(torch.uint8)[
            : self.count
        ]
        self.labels = torch.arange(self.count) % 3
        self.labels[: self.relabeled] = 0
        self.class_names = ["ant", "bee", "cat"]
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed))
        train, val, test = order.tensor_split([self.count * 6 // 10, self.count * 8 // 10])
        self.positions = {"train": train, "val": val, "test": test}
        if self.pool:
            self.positions |= {"pool": val[::2], "val": val[1::2]}


def fitted(folder: Path, data: Pile, judge: Tensor = NOTHING, large_model: str | None = "A") -> Path:
    """The checkpoint of a run that was fitted on some data."""
    (folder / "checkpoints").mkdir(parents=True)
    keep(folder, data, large_model, judge)
    checkpoint = folder / "checkpoints" / "best.ckpt"
    checkpoint.touch()
    return checkpoint


def shared(one: Pile, split: str, other: Pile, others: tuple[str, ...]) -> int:
    """Images of a split that are in splits of another module too, counted pixel by pixel."""
    seen = {other.images[row].numpy().tobytes() for name in others for row in other.positions[name]}
    return sum(one.images[row].numpy().tobytes() in seen for row in one.positions[split])


def test_the_same_data_are_tested_without_a_word(tmp_path):
    checkpoint = fitted(tmp_path / "run", Pile(500))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_split(checkpoint, Pile(500), "test", "A") == {}
        assert check_split(checkpoint, Pile(500), "val", "A") == {}


def test_data_that_have_grown_since_the_fit_are_refused_with_the_count(tmp_path):
    before, now = Pile(500), Pile(800)
    checkpoint = fitted(tmp_path / "run", before)
    count = shared(now, "test", before, ("train", "val"))
    assert 0 < count < len(now.positions["test"])
    by = {name: shared(now, "test", before, (name,)) for name in ("train", "val")}
    said = rf"{count} of 160 test samples \(train {by['train']}, val {by['val']}\) were used in it"
    with pytest.raises(InputError, match=said):
        check_split(checkpoint, now, "test")
    count = shared(now, "val", before, ("train",))  # thresholds are chosen on what was not trained on
    with pytest.raises(InputError, match=rf"{count} of 160 val samples \(train {count}\)"):
        check_split(checkpoint, now, "val")


def test_what_was_distilled_on_is_not_calibrated_on(tmp_path):
    checkpoint = fitted(tmp_path / "run", Pile(500, pool=True))
    with pytest.raises(InputError, match=r"50 of 100 val samples \(pool 50\)"):
        check_split(checkpoint, Pile(500), "val")


def test_other_data_without_a_shared_sample_are_tested_and_said_to_be_others(tmp_path):
    before, now = Pile(500), Pile(900)
    for split, rows in now.positions.items():
        now.positions[split] = rows[rows >= 500]
    checkpoint = fitted(tmp_path / "run", before)
    with pytest.warns(UserWarning, match=r"the test split is not the one of the fit \(100 samples, .* now\)"):
        differ = check_split(checkpoint, now, "test", "B")
    assert set(differ) == {"data.splits.test", "data.splits.train", "data.splits.val", "large_model"}
    assert differ["large_model"] == "A" and differ["data.splits.train"].startswith("300 samples, ")


def test_a_changed_label_is_another_split(tmp_path):
    checkpoint = fitted(tmp_path / "run", Pile(500))
    with pytest.warns(UserWarning, match="is not the one of the fit"):
        assert "data.splits.test" in check_split(checkpoint, Pile(500, relabeled=400), "test", "A")


def test_on_purpose_with_a_copy_of_the_checkpoint(tmp_path):
    checkpoint = fitted(tmp_path / "run", Pile(500))
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(checkpoint.read_bytes())
    with pytest.warns(UserWarning, match="nothing is known of the data that .*copy.ckpt was fitted on"):
        assert check_split(copy, Pile(800), "test") == {}


def test_a_resumed_run_goes_on_with_the_data_it_began_with(tmp_path):
    of_judge = torch.tensor([3, 5])
    checkpoint = fitted(tmp_path / "run", Pile(500), of_judge)
    assert torch.equal(check_resumed(checkpoint, Pile(500)), of_judge)
    for changed in (Pile(501), Pile(500, relabeled=30), Pile(500, seed=1)):
        with pytest.raises(
            InputError, match=r"the data have changed since .*run began .*train had 300 samples"
        ):
            check_resumed(checkpoint, changed)


def test_a_judge_of_another_run_was_trained_on_nothing_that_is_tested(tmp_path):
    before, now = Pile(500), Pile(800)
    checkpoint = fitted(tmp_path / "judge", before)
    assert torch.equal(trained_on_by_judge(str(checkpoint), Pile(500)), before.contents("train").unique())
    count = shared(now, "test", before, ("train",))
    with pytest.raises(InputError, match=rf"was trained on {count} of 160 test samples \(train {count}\)"):
        trained_on_by_judge(str(checkpoint), now)
    # what the judge knows counts for the run that takes it over, and for the one after that
    second = fitted(tmp_path / "second", Pile(500, seed=7), trained_on_by_judge(str(checkpoint), Pile(500)))
    with pytest.raises(InputError, match=r"judge \d+"):
        check_split(second, now, "test")
    with pytest.raises(InputError, match=r"judge \d+"):
        trained_on_by_judge(str(second), now)
    with pytest.warns(UserWarning, match="nothing is known of what the judge"):
        assert not len(trained_on_by_judge(str(tmp_path / "lost.ckpt"), now))


def test_copies_within_the_data_are_said_at_the_fit_and_no_reason_to_refuse_the_test(tmp_path):
    data = Pile(500)
    data.images[data.positions["test"][:7]] = data.images[data.positions["train"][:7]]
    with pytest.warns(UserWarning, match="7 of 100 test samples are copies of training samples"):
        checkpoint = fitted(tmp_path / "run", data)
    assert check_split(checkpoint, data, "test", "A") == {}
    fewer = Pile(500)
    fewer.images, fewer.positions["test"] = data.images, data.positions["test"][:50]
    with pytest.warns(UserWarning, match="is not the one of the fit"):  # they were tested on at the fit too
        check_split(checkpoint, fewer, "test", "A")


def test_runs_of_earlier_versions_are_compared_by_sample_ids(tmp_path):
    data = Pile(500)
    checkpoint = fitted(tmp_path / "run", data)
    (tmp_path / "run" / "data.json").write_text(json.dumps({"class_names": [], "splits": data.splits()}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_split(checkpoint, Pile(500), "test") == {}
    with pytest.warns(UserWarning, match="nothing is known of the data"):
        check_split(checkpoint, Pile(800), "test")
    with pytest.raises(InputError, match="train is another one"):
        check_resumed(checkpoint, Pile(800))


def test_a_damaged_record_is_one_line(tmp_path):
    checkpoint = fitted(tmp_path / "run", Pile(500))
    file = tmp_path / "run" / "data.json"
    known = json.loads(file.read_text())
    packed = base64.b64decode(known["contents"]["train"])
    assert np.array_equal(np.frombuffer(packed, "<i8"), Pile(500).contents("train").sort().values.numpy())
    for damaged in (known["contents"]["train"][:-7], 5, None):
        file.write_text(json.dumps(known | {"contents": known["contents"] | {"train": damaged}}))
        with pytest.raises(InputError, match=r"data.json is damaged: contents of train"):
            check_split(checkpoint, Pile(800), "test")
    file.write_text(file.read_text()[:100])
    with pytest.raises(InputError, match=r"data.json is no JSON"):
        FitRecord(file)
    assert fit_record.run_of(tmp_path / "elsewhere" / "best.ckpt") is None
