"""Folders that are written whole, by several at once."""

import os
import time

import numpy as np
import pytest
import torch
from PIL import Image

from kcm_lightning.data.image_store import ImageStore
from kcm_lightning.data.prepared import written_whole
from kcm_lightning.utils.errors import InputError


def test_who_is_slower_loses_nothing_and_hurts_nobody(tmp_path):
    folder = tmp_path / "store"
    with written_whole(folder) as slow:
        (slow / "a").write_text("slow")
        with written_whole(folder) as fast:
            (fast / "a").write_text("fast")
        assert (slow / "a").is_file()  # not swept away
    assert (folder / "a").read_text() == "fast" and [path.name for path in tmp_path.iterdir()] == ["store"]


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path):
    old, new = tmp_path / ".store.old", tmp_path / ".store.new"
    for left in (old, new):
        left.mkdir()
    long_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (long_ago, long_ago))
    with written_whole(tmp_path / "store"):
        pass
    assert not old.exists() and new.exists()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("facts.json", b"[" * 100_000),
        ("facts.json", b'{"images": 1, "images": 1, "size": 8, "bad": {}}'),
        ("facts.json", b'{"images": 1e400, "size": 8, "bad": {}}'),
        ("facts.json", b'{"images": 1' + b"0" * 30 + b', "size": 8, "bad": {}}'),
        ("facts.json", b'{"images": 1, "size": 8, "bad": 3}'),
        ("facts.json", b"\xff"),
        ("contents.npy", b""),
        ("contents.npy", b"\x93NUMPY\x01\0" + b"x" * 100),
        ("pixels.bin", b""),
    ],
)
def test_damaged_files_of_any_kind_are_one_line(tmp_path, file, content):
    Image.new("RGB", (9, 9), "red").save(tmp_path / "1.png")
    ImageStore.make(tmp_path / "store", [tmp_path / "1.png"], 8)
    assert np.array_equal(ImageStore(tmp_path / "store")[torch.tensor([0])][0, :, 0, 0], [255, 0, 0])
    (tmp_path / "store" / file).write_bytes(content)
    with pytest.raises(InputError, match=r"--data\.prepared: .*store is damaged .*delete it") as found:
        ImageStore(tmp_path / "store")
    assert "\n" not in str(found.value)
