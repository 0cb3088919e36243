"""Two lists of class names: by name where all match, else only as the user says, and never in part."""

import pytest

from kcm_lightning.utils.class_names import class_order
from kcm_lightning.utils.errors import InputError

ANIMALS = ["crab", "aquarium_fish", "Turtle"]


def order(own, wanted=ANIMALS, labels="by_name"):
    return class_order(own, wanted, labels=labels, option="--model.teacher.labels")


def refused(own, wanted=ANIMALS, labels="by_name") -> str:
    with pytest.raises(InputError) as error:
        order(own, wanted, labels)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_all_match_by_name_whatever_case_and_strokes():
    assert order(["turtle", "CRAB", "Aquarium-Fish "]) == [1, 2, 0]
    assert order(ANIMALS) == [0, 1, 2]
    assert order(["1", "0"], ["0", "1"]) == [1, 0]  # numbers are names where the data have the same


@pytest.mark.parametrize("labels", ["by_name", "by_position", {"turtle": "Turtle"}])
def test_a_match_in_part_is_an_error_that_names_the_others(labels):
    said = refused(["turtle", "cra", "aquarium fish"], labels=labels)
    assert "2 of the 3 class names match" in said and "'cra' (perhaps 'crab')" in said
    assert """--model.teacher.labels='{"cra": "crab"}'""" in said


def test_numbers_are_names_too():
    assert order(["2", 0, "1"], [0, 1, 2]) == [1, 2, 0] and order([1, 0], [1, 0], "by_position") == [0, 1]
    assert "2 of the 3 class names match" in refused(["0", "1", "two"], [0, 1, 2])
    assert order(["a", "b"], [7, 9], {"a": 9, "b": "7"}) == [1, 0]


def test_numbers_that_match_in_part_are_an_error():
    assert "2 of the 3" in refused(["0", "1", "2"], ["1", "2", "3"])


def test_no_match_needs_the_users_word():
    own = ["crustacean", "goldfish", "tortoise"]
    said = refused(own)
    assert "none of the model's class names ('crustacean', 'goldfish', 'tortoise')" in said
    assert "'crab', 'aquarium_fish', 'Turtle'" in said and "--model.teacher.labels=by_position" in said
    assert order(own, labels="by_position") == [0, 1, 2]
    names = {"tortoise": "turtle", "Goldfish": "aquarium fish", "crustacean": "crab"}
    assert order(own[::-1], labels=names) == [2, 1, 0]


@pytest.mark.parametrize("word", ["LABEL_{}", "class {}", "{}", "Category-{}", "n{}"])
@pytest.mark.parametrize("first", [0, 1])
def test_names_that_say_nothing_are_taken_in_order_and_said(word, first):
    with pytest.warns(UserWarning, match="say nothing: its classes are taken in the order of the data's"):
        assert order([word.format(first + i) for i in range(3)]) == [0, 1, 2]


@pytest.mark.parametrize(
    "own", [["LABEL_1", "LABEL_0", "LABEL_2"], ["a0", "b1", "c2"], ["2", "3", "4"], ["x", "y", "z"]]
)
def test_names_that_say_something_are_not_taken_in_order(own):
    assert "none of the model's class names" in refused(own)


def test_the_datas_numbers_do_not_make_the_models_names_say_nothing():
    assert "none of the model's" in refused(["eight", "five", "four"], ["0", "1", "2"])


def test_names_that_become_one_are_refused():
    assert "the model's class names 'cat' and 'Cat' are one name" in refused(["cat", "Cat", "dog"])
    assert "the data's class names 'a_b' and 'a-b' are one name" in refused(["x", "y"], ["a_b", "a-b"])
    twice = ["crane", "crane", "maillot"]  # as ImageNet has them
    assert "are one name" in refused(twice, twice) and order(twice, twice, "by_position") == [0, 1, 2]


def test_names_that_differ_in_case_or_strokes_alone_match_by_the_very_name():
    """EMNIST has letters of both cases, and signs; both lists are the same."""
    for names in (["a", "A", "b"], ["-", "_", "+"], ["straße", "strasse"], ["a_b", "a-b", "A B"]):
        turned = names[::-1]
        assert order(names, names) == order(names, names, "by_position") == list(range(len(names)))
        assert order(turned, names) == list(range(len(names)))[::-1]
        assert "in another order" in refused(turned, names, "by_position")
    assert order(["lawn mower", "A", "a"], ["a", "A", "Lawn_Mower"]) == [2, 1, 0]
    assert "'a' and 'A' are one name" in refused(["a", "A", "b"], ["a", "b", "c"])
    assert "'a' and 'A' are one name" in refused(["x", "y", "b"], ["a", "A", "b"])
    assert "'a' and 'A' are one name" in refused(["a", "A"], ["A ", "a "])  # which is which is not said
    assert order(["x", "X", "y"], ["a", "A", "b"], "by_position") == [0, 1, 2]
    names = {"x": "A", "X": "a", "y": "b"}
    assert order(["x", "X", "y"], ["a", "A", "b"], names) == [1, 0, 2]


def test_two_names_that_are_mapped_to_one_are_named():
    said = refused(["cat", "kitten", "dog"], labels={"cat": "crab", "kitten": "crab"})
    assert "the model's 'cat' and 'kitten' would all be 'crab': map each to a class of its own" in said
    said = refused(["crab", "kitten", "dog"], labels={"kitten": "Crab"})
    assert "the model's 'crab' and 'kitten' would all be 'crab'" in said
    said = refused(["cat", "kitten", "dog"], labels={"cat": "crab", "Cat": "turtle"})
    assert "'cat' is mapped twice, the second time as 'Cat'" in said
    twins = ["zero", "one", "two"], ["0", "1", "2"], {"zero": "0", "one": "0"}
    assert "'zero' and 'one' would all be '0'" in refused(*twins)


def test_options_that_contradict_the_names_are_refused():
    assert "in another order" in refused(["turtle", "crab", "aquarium fish"], labels="by_position")
    assert order(ANIMALS, labels="by_position") == [0, 1, 2]
    assert "'crap' is none of the model's class names (perhaps 'cra')" in refused(
        ["cra", "x", "y"], labels={"crap": "crab"}
    )
    assert "'krab' is none of the data's class names (perhaps 'crab')" in refused(
        ["cra", "x", "y"], labels={"cra": "krab"}
    )


def test_long_lists_are_shortened():
    said = refused([f"other {i} word" for i in range(1000)], [f"thing {i} here" for i in range(1000)])
    assert len(said) < 700 and "..." in said
