"""The embedded data."""

from kcm_lightning.data import DigitsLT


def test_digits_are_long_tailed_and_disjoint():
    data = DigitsLT(imbalance=20)
    data.setup()
    counts = data.class_counts.tolist()
    assert counts == sorted(counts, reverse=True) and 19 <= counts[0] / counts[-1] <= 21
    splits = {name: set(values) for name, values in data.splits().items()}
    assert len(splits["test"]) == 600 and len(splits["val"]) == 300
    assert not splits["train"] & (splits["val"] | splits["test"])
    assert data.images.float().std() > 50  # pixels fill 0 to 255
    balanced = DigitsLT(imbalance=1)
    balanced.setup()
    assert len(set(balanced.class_counts.tolist())) == 1
    assert splits["test"] == set(balanced.splits()["test"])
