"""Class counts against published figures."""

import numpy as np
import pytest
import torch

from kcm_lightning.data.longtail import class_counts, equal_groups, keep_counts, shots, thirds


@pytest.mark.parametrize(
    "profile, total, largest, smallest",
    [
        ("if100", 10_847, 500, 5),
        ("if50", 12_608, 500, 10),
        ("if10", 19_573, 500, 50),
        ("tlc", 11_222, 500, 7),
        ("balanced", 50_000, 500, 500),
    ],
)
def test_published_totals(profile, total, largest, smallest):
    counts = class_counts(profile)
    assert (sum(counts), max(counts), min(counts)) == (total, largest, smallest)
    assert counts == sorted(counts, reverse=True)


def test_thirds_are_34_33_33_and_shots_follow_the_counts():
    counts = torch.tensor(class_counts("if100"))
    assert thirds(counts).tolist() == [0] * 34 + [1] * 33 + [2] * 33
    expected = [0 if c > 100 else 1 if c >= 20 else 2 for c in counts.tolist()]
    assert shots(counts).tolist() == expected
    assert torch.bincount(thirds(torch.full((10,), 7))).tolist() == [4, 3, 3]


def test_thirds_follow_the_counts_not_the_index():
    assert thirds(torch.tensor([1, 100, 10])).tolist() == [2, 0, 1]


def test_ten_groups_of_ten_by_falling_frequency():
    counts = torch.tensor(class_counts("if100"))
    groups = equal_groups(counts, 10)
    assert groups.bincount().tolist() == [10] * 10 and groups.tolist() == sorted(groups.tolist())
    assert equal_groups(torch.arange(100), 10).tolist() == sorted(groups.tolist(), reverse=True)
    assert torch.equal(equal_groups(counts, 3), thirds(counts))


def test_subset_is_ldam_drw_s():
    """Class by class: shuffle the positions under one seeded generator, keep the first."""
    labels = np.random.RandomState(3).randint(0, 5, 500)
    counts = [40, 20, 10, 5, 1]
    np.random.seed(0)
    expected = []
    for c in range(5):
        positions = np.where(labels == c)[0]
        np.random.shuffle(positions)
        expected.extend(positions[: counts[c]])
    kept = keep_counts(labels, counts, seed=0)
    assert kept.tolist() == expected
    assert np.bincount(labels[kept]).tolist() == counts
