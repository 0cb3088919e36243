"""Batched augmentation against loops over images."""

import torch

from kcm_lightning.data.augment import (
    cutmix,
    cutout,
    rand_augment,
    random_crop,
    random_flip,
    random_rotation,
    some_cutmix,
)


def test_every_crop_is_a_window_of_its_padded_image():
    torch.manual_seed(0)
    images = torch.randint(1, 256, (40, 3, 6, 5), dtype=torch.uint8)
    crops = random_crop(images, 2)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    places = set()
    for i in range(40):
        found = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if torch.equal(padded[i, :, y : y + 6, x : x + 5], crops[i])
        ]
        assert len(found) == 1
        places.add(found[0])
    assert crops.shape == images.shape and crops.dtype == torch.uint8 and len(places) > 15


def test_flips_about_half():
    torch.manual_seed(0)
    images = torch.randint(0, 256, (200, 3, 4, 4), dtype=torch.uint8)
    flipped = random_flip(images)
    mirrored = [torch.equal(flipped[i], images[i].flip(-1)) for i in range(200)]
    assert all(m or torch.equal(flipped[i], images[i]) for i, m in enumerate(mirrored))
    assert 70 < sum(mirrored) < 130


def test_cutout_removes_one_square():
    torch.manual_seed(0)
    cut = cutout(torch.ones(100, 3, 16, 16), 6)[:, 0] == 0
    for mask in cut:
        rows, columns = mask.any(1).nonzero().squeeze(1), mask.any(0).nonzero().squeeze(1)
        assert mask.sum() == len(rows) * len(columns)  # a full rectangle
        assert 3 <= len(rows) <= 6 and 3 <= len(columns) <= 6
    assert (cut.sum((1, 2)) == 36).float().mean() > 0.2


def test_cutmix_share_is_what_is_left_of_each_image():
    torch.manual_seed(0)
    shares = []
    for _ in range(200):
        images = torch.arange(8.0).reshape(8, 1, 1, 1).expand(8, 3, 10, 10)
        mixed, partner, own = cutmix(images)
        for i in range(8):
            if partner[i] != i:
                assert abs((mixed[i, 0] == i).float().mean().item() - own) < 1e-6
                assert ((mixed[i, 0] == i) | (mixed[i, 0] == partner[i])).all()
        shares.append(own)
    assert min(shares) < 0.3 and max(shares) > 0.95


def test_rand_augment_keeps_shape_and_type():
    images = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8)
    changed = rand_augment(images, 2)
    assert changed.shape == images.shape and changed.dtype == torch.uint8 and not torch.equal(changed, images)


def test_rotation_takes_each_pixel_from_its_turned_place(monkeypatch):
    torch.manual_seed(0)
    images = torch.randint(1, 256, (6, 3, 8, 8), dtype=torch.uint8)
    monkeypatch.setattr(
        torch, "rand", lambda *size, **options: torch.full(size, 1.0)
    )  # the largest angle for each
    for degrees, turns in ((90, 1), (180, 2)):
        turned = random_rotation(images, degrees)
        assert any(torch.equal(turned, images.rot90(way * turns, (2, 3))) for way in (1, -1))
    monkeypatch.undo()
    small = random_rotation(images.repeat(40, 1, 1, 1), 15)
    assert small.dtype == torch.uint8 and len({tuple(image.flatten().tolist()) for image in small[::6]}) > 10
    moved = (small[:, :, 3:5, 3:5] != images.repeat(40, 1, 1, 1)[:, :, 3:5, 3:5]).float().mean()
    assert moved < 0.05  # by 15 degrees at most, the middle stays where it is
    assert torch.equal(random_rotation(images, 0.0), images)


def test_cutmix_in_a_share_of_the_batches_and_never_of_texts():
    torch.manual_seed(0)
    images = torch.randn(4, 3, 8, 8)
    mixed = sum(some_cutmix(images, 0.25)[2] < 1 for _ in range(400))
    assert 60 < mixed < 130
    tokens = torch.ones(4, 9, dtype=torch.long)
    assert some_cutmix(tokens, 1.0)[0] is tokens and some_cutmix(images, 0.0)[0] is images
