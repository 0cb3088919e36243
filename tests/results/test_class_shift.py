"""Classes that are otherwise frequent in validation and test are said, chance differences are not."""

import torch

from kcm_lightning.results.class_shift import class_shift


class Data:
    """What is asked of data."""

    class_names = ("a", "b", "c")

    def __init__(self, val, test):
        self.labels = {"val": val, "test": test}

    def labels_of(self, split):
        return self.labels[split]


def drawn(shares, count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.tensor(shares).multinomial(count, replacement=True, generator=generator)


def test_a_long_tail_against_even_classes_is_said():
    said = class_shift(Data(drawn([0.8, 0.15, 0.05], 300, 1), drawn([1.0, 1.0, 1.0], 600, 2)))
    assert said is not None and "% of the samples would have to be of others" in said


def test_the_same_frequencies_are_not():
    for seed in range(50):
        assert class_shift(Data(drawn([0.6, 0.3, 0.1], 200, seed), drawn([0.6, 0.3, 0.1], 900, 99))) is None


def test_data_whose_labels_are_not_at_hand_are_passed_over():
    assert class_shift(Data(None, None)) is None
