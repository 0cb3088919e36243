"""CIFAR-100-LT: the official files, Data Shunt's split, and what is said when something is wrong."""

import shutil

import pytest
import torch
from torch.utils.data import random_split

from kcm_lightning.data import CIFAR100LT
from kcm_lightning.utils.errors import InputError


@pytest.fixture(scope="module")
def real(real_data):
    data = CIFAR100LT(root=str(real_data))
    data.setup()
    return data


def test_split_is_data_shunts(real):
    test, held_out = random_split(range(10_000), [8_000, 2_000], torch.Generator().manual_seed(0))
    assert real.positions["test"].tolist() == [50_000 + i for i in test.indices]
    assert real.positions["val"].tolist() == [50_000 + i for i in held_out.indices]
    regions = real.regions["thirds"][real.labels[real.positions["test"]]]
    assert regions.bincount().tolist() == [2720, 2624, 2656]  # recovered from Data Shunt's log


def test_training_images_are_the_long_tail(real):
    assert real.class_counts.tolist() == real.labels[real.positions["train"]].bincount().tolist()
    assert len(real.positions["train"]) == 10_847 and real.class_names[0] == "apple"
    assert real.images.dtype == torch.uint8 and real.images.shape == (60_000, 3, 32, 32)
    assert real.fingerprint()["train"]["samples"] == 10_847


def test_the_data_have_twins_across_their_splits_themselves(real):
    """Three test images are, pixel by pixel, training images: an overlap is to be compared with this one."""
    twins = torch.isin(real.contents("test"), real.contents("train")).nonzero().flatten()
    images = real.images.flatten(1)
    for place in real.positions["test"][twins]:
        assert (images[real.positions["train"]] == images[place]).all(1).any()
    assert len(twins) == 3


def test_pool_and_thresholds_never_share_a_sample(real_data):
    data = CIFAR100LT(root=str(real_data), distill_split="pool")
    data.setup()
    splits = {name: set(values) for name, values in data.splits().items()}
    assert len(splits["pool"]) == len(splits["val"]) == 1_000
    names = list(splits)
    assert not any(splits[a] & splits[b] for i, a in enumerate(names) for b in names[i + 1 :])


def test_all_test_images_leave_validation_to_unused_training_images(real_data):
    data = CIFAR100LT(root=str(real_data), test_images="all")
    data.setup()
    splits = {name: set(values) for name, values in data.splits().items()}
    assert splits["test"] == set(range(50_000, 60_000)) and len(splits["val"]) == 2_000
    assert not splits["val"] & (splits["train"] | splits["test"])
    with pytest.raises(InputError, match="unused training images"):
        CIFAR100LT(test_images="all", profile="balanced")


def test_views(real):
    batch = {"large": real.images[:16]}
    clean = real.view(batch, augment=False)
    mean, std = torch.tensor(real.mean)[:, None, None], torch.tensor(real.std)[:, None, None]
    torch.testing.assert_close(clean["small"], (real.images[:16] / 255 - mean) / std, atol=1e-5, rtol=1e-5)
    torch.manual_seed(0)
    augmented = real.view(batch, augment=True)
    assert not torch.allclose(augmented["small"], clean["small"])
    assert torch.equal(augmented["large"], real.images[:16])  # the large model sees the image as it is


def test_missing_and_corrupt_files_are_named(tmp_path, real_data):
    with pytest.raises(InputError, match=r"train is missing.*--data\.root"):
        CIFAR100LT(root=str(tmp_path)).setup()
    shutil.copytree(real_data / "cifar-100-python", tmp_path / "cifar-100-python")
    file = tmp_path / "cifar-100-python" / "test"
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[1000] ^= 255
    file.write_bytes(content)
    with pytest.raises(InputError, match="test is corrupt"):
        CIFAR100LT(root=str(tmp_path)).setup()
