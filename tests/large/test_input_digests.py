"""Inputs are told apart by content, of whatever kind they are."""

import numpy as np
import pytest
import torch
from PIL import Image

from kcm_lightning.large.input_digests import input_digests
from kcm_lightning.utils.errors import InputError


def differ(*inputs) -> bool:
    """Whether each input, as a batch of one, has a digest of its own."""
    return len({input_digests([own] if not isinstance(own, dict) else own)[0] for own in inputs}) == len(
        inputs
    )


def test_one_bit_of_one_image_changes_its_digest_alone():
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8)
    before = input_digests(images)
    assert before == input_digests(images.clone()) and len(set(before)) == 50
    for row, channel, y, x, bit in [(0, 0, 0, 0, 1), (49, 2, 7, 7, 128), (20, 1, 3, 5, 16)]:
        changed = images.clone()
        changed[row, channel, y, x] ^= bit
        after = input_digests(changed)
        assert [i for i in range(50) if after[i] != before[i]] == [row]


def test_digests_do_not_depend_on_the_batch_nor_on_memory():
    images = torch.randint(0, 256, (6, 3, 4, 5), dtype=torch.uint8)
    whole = input_digests(images)
    assert whole[2:4] == input_digests(images[2:4]) and input_digests(images[:0]) == []
    assert whole == input_digests(images.permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3))
    assert whole == input_digests(list(images))


def test_shape_and_kind_of_numbers_count():
    zeros = torch.zeros(1, 4, dtype=torch.uint8)
    batches = [zeros, zeros.reshape(1, 2, 2), zeros.view(torch.int8), zeros.view(torch.float32), zeros.bool()]
    assert len({input_digests(batch)[0] for batch in batches}) == len(batches)
    assert input_digests(torch.zeros(1, 4, dtype=torch.bfloat16)) != input_digests(
        torch.zeros(1, 4, dtype=torch.float16)
    )


def test_texts_files_arrays_and_images(tmp_path):
    paths = [tmp_path / name for name in ("a.png", "b.png", "copy.png")]
    for path, content in zip(paths, (b"one", b"other", b"one"), strict=True):
        path.write_bytes(content)
    one, other, copy = input_digests(list(map(str, paths)))
    assert one == copy != other and input_digests(paths) == [one, other, copy]
    paths[0].write_bytes(b"two")  # another image under the same name
    assert input_digests(paths[:1])[0] not in (one, other)
    assert differ(
        "a text", "a text ", "", "x" * 5_000, "caf\u00e9 \udcff", "nul \0", b"a text", str(tmp_path)
    )
    gray = Image.new("L", (2, 2))
    assert differ(
        gray, gray.convert("RGB"), Image.new("L", (2, 2), 1), np.zeros((2, 2)), np.zeros((2, 2), "u1")
    )
    pair = {"pixels": torch.zeros(1, 2), "text": ["a"]}
    assert differ(
        pair, pair | {"text": ["b"]}, pair | {"pixels": torch.ones(1, 2)}, {"pixels": torch.zeros(1, 2)}
    )


def test_what_cannot_be_told_apart_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--model\.cache: inputs of the kind object"):
        input_digests([object()])
