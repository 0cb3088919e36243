"""Decoded images on disk: what cannot be read is named with its reason, the rest goes on."""

import hashlib
import json

import pytest
import torch
from PIL import Image

from kcm_lightning.data.image_store import ImageStore, missing_or_damaged, shrink
from kcm_lightning.utils import image_io
from kcm_lightning.utils.errors import InputError


@pytest.fixture
def paths(tmp_path, monkeypatch):
    monkeypatch.setattr(image_io, "MAX_PIXELS", 2_000)
    for name, size in (("a.png", (30, 20)), ("large.png", (60, 60)), ("c.png", (20, 30))):
        Image.new("RGB", size, "red").save(tmp_path / name)
    (tmp_path / "text.jpg").write_text("hello")
    return [tmp_path / name for name in ("a.png", "missing.png", "large.png", "text.jpg", "c.png")]


def test_bad_images_have_reasons_and_the_rest_are_there(paths, tmp_path):
    ImageStore.make(tmp_path / "store", paths, 16)
    store = ImageStore(tmp_path / "store")
    assert store.bad == {
        1: "there is no such file",
        2: "60 x 60 pixels are more than 2,000",
        3: "it is no image of a known kind",
    }
    red = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 16, 16)
    assert all(torch.equal(store[torch.tensor([number])][0], red) for number in (0, 4))
    for number in (0, 4):
        hashed = hashlib.sha256(paths[number].read_bytes()).digest()[:8]
        assert store.contents[number].item() == int.from_bytes(hashed) >> 1
    said = missing_or_damaged({paths[number]: why for number, why in store.bad.items()}, ": left out")
    assert "3 images" in said and said.endswith("text.jpg: left out (the first: there is no such file)")
    with pytest.raises(OSError, match="no such file"):
        shrink(paths[1], 16)


@pytest.mark.parametrize("damage", ["pixels.bin", "contents.npy", "facts.json"])
def test_a_damaged_folder_is_one_line(paths, tmp_path, damage):
    ImageStore.make(tmp_path / "store", paths, 16)
    file = tmp_path / "store" / damage
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(
        InputError, match=r"--data\.prepared: .*store is damaged .*delete it, and it is made anew"
    ):
        ImageStore(tmp_path / "store")


def test_a_full_disk_is_one_line_and_leaves_nothing(paths, tmp_path, monkeypatch):
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kcm_lightning.data.image_store.np.save", full)
    with pytest.raises(InputError, match=r"--data\.prepared: .* is full: No space left on device"):
        ImageStore.make(tmp_path / "made" / "store", paths, 16)
    assert not list((tmp_path / "made").iterdir())


def test_an_images_own_error_is_not_taken_for_a_full_disk(paths, tmp_path):
    ImageStore.make(tmp_path / "store", [paths[1]], 16)
    assert json.loads((tmp_path / "store" / "facts.json").read_text())["bad"] == {
        "0": "there is no such file"
    }
