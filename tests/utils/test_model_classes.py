"""A classifier that knows more classes than the data has: by name, by a map, and what is refused."""

import pytest
import torch

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.model_classes import data_classes, on_data_classes

MANY = ["tabby_cat", "Persian cat", "beagle", "owl", "lawn-mower"]


def places(wanted, labels="by_name", own=MANY):
    return data_classes(own, wanted, labels=labels, option="--labels")


def test_the_datas_classes_are_found_by_name_among_more():
    with pytest.warns(UserWarning, match="the model knows 5 classes, the data's 2 by name among them"):
        assert places(["Lawn mower", "owl"]) == [-1, -1, -1, 1, 0]


def test_several_of_the_models_classes_may_be_one_of_the_datas():
    mapped = {"tabby_cat": "cat", "persian cat": "cat", "beagle": "dog"}
    assert places(["cat", "dog"], mapped) == [0, 0, 1, -1, -1]
    assert places(["dog", "owl", "cat"], mapped) == [2, 2, 0, 1, -1]  # the owl by its name


def test_as_many_classes_are_matched_one_to_one():
    assert places(["b", "a"], own=["A", "B"]) == [1, 0]


@pytest.mark.parametrize(
    ("wanted", "labels", "said"),
    [
        (["owl", "wolf"], "by_name", "1 of the data's 2 classes are none of the model's 5 by name ('wolf')"),
        (["cat", "dog"], {"beagle": "dog"}, "none of the model's 5 by name ('cat')"),
        (["cat", "dog"], {"beagel": "dog"}, "'beagel' is none of the model's class names (perhaps 'beagle')"),
        (["cat", "dog"], {"beagle": "dogs"}, "'dogs' is none of the data's class names (perhaps 'dog')"),
        (["cat", "dog"], "by_position", "the model knows 5 classes, the data has 2"),
    ],
)
def test_what_does_not_fit_is_named(wanted, labels, said):
    with pytest.raises(InputError) as error:
        places(wanted, labels)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_probabilities_of_one_class_are_added_and_the_rest_left_out():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(6, 5, generator=generator).softmax(-1)
    found = on_data_classes(probabilities, torch.tensor([0, 0, 1, -1, -1]), classes=2)
    for row, own in zip(found, probabilities.tolist(), strict=True):
        cat, dog = own[0] + own[1], own[2]
        assert row.tolist() == pytest.approx([cat / (cat + dog), dog / (cat + dog)])
