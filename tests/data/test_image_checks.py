"""Images in memory: what would silently give a wrong figure is refused, and so are images of another size."""

import json

import numpy as np
import pytest
import torch

import kcm_lightning
from kcm_lightning.data import CIFAR100LT, DigitsLT
from kcm_lightning.utils.errors import InputError
from tests.data.test_contents import Own
from tests.run_commands import ROOT, kcm_process

IMAGES = torch.randint(0, 256, (12, 3, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 2
SPLITS = {"train": torch.arange(4), "val": torch.arange(4, 8), "test": torch.arange(8, 12)}


def test_sound_data_pass():
    data = Own(IMAGES, LABELS, **SPLITS)
    data.setup()
    assert data.image_shape == (3, 5, 4) and data.class_counts.tolist() == [2, 2]


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_without_a_class_is_refused_in_every_split(split, label):
    labels = LABELS.clone()
    labels[SPLITS[split][1]] = label
    place = SPLITS[split][1]
    said = rf"1 samples of the {split} split have no class, sample {place} the label {label}; .* 0 to 1"
    with pytest.raises(InputError, match=said):
        Own(IMAGES, labels, **SPLITS).setup()


def test_labels_of_a_pool_and_of_no_split_are_not_looked_at():
    labels = torch.cat([LABELS, torch.full((4,), -1)])
    Own(torch.cat([IMAGES, IMAGES[:4]]), labels, **SPLITS, pool=torch.arange(12, 14)).setup()


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (
            IMAGES.float() / 255,
            r"must be a uint8 tensor of shape \(B, 3, H, W\), not torch.float32: make fractions",
        ),
        (IMAGES.int() * 3, "must be a uint8 tensor .*, not torch.int32"),
        (IMAGES.numpy(), "must be a uint8 tensor .*, not ndarray"),
        ((IMAGES > 9).to(torch.uint8), "no value is above 1 of 255"),
        (IMAGES[:, :1], r"must be a uint8 tensor .*, not \(12, 1, 5, 4\)"),
        (IMAGES.permute(0, 2, 3, 1), r"must be a uint8 tensor .*, not \(12, 5, 4, 3\)"),
        (IMAGES[:, :, :0], r"must be a uint8 tensor .*, not \(12, 3, 0, 4\)"),
    ],
)
def test_images_of_another_type_range_or_shape_are_refused(images, said):
    with pytest.raises(InputError, match=rf"Own\.images.*{said}"):
        Own(images, LABELS, **SPLITS).setup()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (LABELS.float() + 0.9, "must be int64 .* not torch.float32"),
        (LABELS[:11], r"of shape \(12,\), one an image, not torch.int64 of shape \(11,\)"),
        (LABELS.tolist(), "must be int64"),
    ],
)
def test_labels_of_another_type_or_number_are_refused(labels, said):
    with pytest.raises(InputError, match=rf"Own\.labels.*{said}"):
        Own(IMAGES, labels, **SPLITS).setup()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test": torch.tensor([8, 9, 3])}, r"positions\['test'\] and 'train' share 1 images, the one at 3"),
        ({"pool": torch.tensor([9, 10])}, r"positions\['pool'\] and 'test' share 2 images"),
        ({"val": torch.tensor([5, 5])}, r"positions\['val'\] has 1 images twice"),
        ({"test": torch.tensor([8, -1])}, r"positions\['test'\] must be from 0 to 11"),
        ({"test": torch.tensor([12])}, r"positions\['test'\] must be from 0 to 11"),
        (
            {"test": torch.tensor([], dtype=torch.long)},
            r"positions\['test'\] is empty: there is nothing to test on",
        ),
        ({"val": torch.tensor([4.5])}, r"positions\['val'\] must be int64"),
        ({"train": [0, 1]}, r"positions\['train'\] must be int64"),
        ({"train": torch.ones(12, dtype=torch.bool)}, r"positions\['train'\] must be int64"),
    ],
)
def test_splits_that_mix_or_hold_nothing_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        Own(IMAGES, LABELS, **{**SPLITS, **change}).setup()


def test_other_facts_that_would_be_silently_wrong():
    data = Own(IMAGES, LABELS, **SPLITS)
    data.mean = (125.3, 123.0, 113.9)
    with pytest.raises(InputError, match="must be three fractions of 255 each"):
        data.setup()
    data = Own(IMAGES, LABELS, **SPLITS)
    data.read = lambda: (Own.read(data), setattr(data, "class_names", ["a", "a"]))
    with pytest.raises(InputError, match="class_names: 'a' is there twice"):
        data.setup()
    with pytest.raises(InputError, match=r"--data\.imbalance=nan must be a finite number"):
        DigitsLT(imbalance=float("nan"))


def test_a_users_images_have_the_size_of_the_data():
    """Images of 64 x 64 pixels were answered by a run of 32 x 32 without a word."""
    data = CIFAR100LT()  # not read: a loaded run does not need its data
    assert data.batch_of(torch.full((2, 3, 32, 32), 9, dtype=torch.uint8))["small"].shape == (2, 3, 32, 32)
    wrong = {
        r"images are of 64 x 64 pixels, and the run was trained on 32 x 32: resize": (3, 64, 64),
        r"images are of 32 x 31 pixels": (3, 32, 31),
        r"shape \(B, 3, H, W\), not \(2, 1, 32, 32\)": (1, 32, 32),
    }
    for said, shape in wrong.items():
        with pytest.raises(InputError, match=said):
            data.batch_of(torch.zeros(2, *shape, dtype=torch.uint8))
    for given in (torch.rand(2, 3, 32, 32), torch.full((1, 3, 32, 32), 300), [1], None, "a.png"):
        with pytest.raises(InputError, match="images must be a uint8 tensor"):
            data.batch_of(given)
    with pytest.raises(InputError, match="there are none"):
        data.batch_of(torch.zeros(0, 3, 32, 32, dtype=torch.uint8))


def test_fractions_that_were_cut_to_0_and_1_are_said():
    with pytest.warns(UserWarning, match="fractions must be times 255"):
        DigitsLT().batch_of(torch.ones(1, 3, 8, 8, dtype=torch.uint8))


@pytest.mark.slow
def test_a_run_on_data_of_ones_own_keeps_their_size(tmp_path, tiny_classifier):
    (tmp_path / "my_data.py").write_text(_example())
    words = ["--data", "my_data.Inverted", "--trainer.logger=false", "--model.judge_phase.epochs=1"]
    words += ["--model.student_phase.epochs=1", f"--model.teacher.name={tiny_classifier(10)}"]
    kcm_process(tmp_path, "fit", "--config", "quickstart.yaml", *words)
    (folder,) = (tmp_path / "runs" / "quickstart").iterdir()
    assert json.loads((folder / "data.json").read_text())["image_shape"] == [3, 8, 8]
    import sys

    sys.path.insert(0, str(tmp_path))
    try:
        run = kcm_lightning.load(folder)
        assert len(run.answer(torch.full((2, 3, 8, 8), 99, dtype=torch.uint8)).label) == 2
        with pytest.raises(
            InputError, match="images are of 16 x 16 pixels, and the run was trained on 8 x 8"
        ):
            run.answer(torch.full((2, 3, 16, 16), 99, dtype=torch.uint8))
    finally:
        sys.path.remove(str(tmp_path))


def _example() -> str:
    """The data module that the documentation shows."""
    page = (ROOT / "docs" / "own_data.md").read_text()
    return page.split("```python\n")[1].split("```")[0]


def test_class_names_that_are_numbers_stay_so_and_json_can_hold_them():
    for names in ([3, 5], np.array([3, 5]), torch.tensor([3, 5]), list(np.array([3, 5])), range(3, 7, 2)):
        data = Own(IMAGES, LABELS, **SPLITS)
        data.read = lambda data=data, names=names: (Own.read(data), setattr(data, "class_names", names))
        data.setup()
        assert data.class_names == [3, 5] and json.dumps(data.class_names) == "[3, 5]"
    for wrong, said in (
        (["a", None], "class_names: None is neither a text nor a number: take str"),
        ([("a",), ("b",)], r"class_names: \('a',\) is neither a text nor a number"),
        ("ab", "class_names must be a list of texts, not str"),
        (None, "class_names must be a list of texts, not NoneType"),
    ):
        data = Own(IMAGES, LABELS, **SPLITS)
        data.read = lambda data=data, names=wrong: (Own.read(data), setattr(data, "class_names", names))
        with pytest.raises(InputError, match=said):
            data.setup()
