"""How a reply becomes a class: the rule of docs/chat.md, case by case."""

import time

import pytest

from kcm_lightning.large.reply_to_class import class_of_reply, named_class

CLASSES = ["negative", "positive"]
REPLIES = [
    ("positive", 1),
    (" Positive.\n", 1),
    ("**positive**", 1),
    ("# POSITIVE", 1),
    ("`positive`", 1),
    ('"positive"!', 1),
    ("- positive", 1),
    ("<b>positive</b>", 1),
    (r"\boxed{positive}", 1),
    ("$\\boxed{\\text{positive}}$", 1),
    ("\uff08positive\uff09", 1),
    ("The review is negative.\n\nPositive", 1),  # the last line that is a name
    ("positive\nnegative", 0),
    ("positive\nHope that helps!", 1),
    ("<think>negative</think>positive", 1),
    ("<THINK>negative\nnegative</THINK>\n\npositive", 1),
    ("<think>a<think>negative</think>positive", 1),
    ("negative</think>positive", 1),
    ("positive\n<think>negative", 1),
    ("<think>positive", -1),  # it never came to an answer
    ("<think>positive</think>", -1),
    ("not positive", -1),
    ("positive or negative", -1),
    ("It is positive", -1),
    ("positively", -1),
    ("", -1),
    ("...", -1),
]


@pytest.mark.parametrize(("content", "label"), REPLIES)
def test_the_last_line_that_is_a_name(content, label):
    assert class_of_reply(content, CLASSES) == label


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ("**Positive.**\n", 1),
        ("A good one.\npositive", -1),
        ("<think>no</think>\npositive", -1),
        ("positive", 1),
    ],
)
def test_strict(content, label):
    assert class_of_reply(content, CLASSES, strict=True) == label


def test_names_with_marks_digits_and_underscores():
    names = ["C", "C#", "C++", "very_good", "N.A.", "+1", "-1", "Não"]
    for label, name in enumerate(names):
        assert class_of_reply(name, names) == label
        assert class_of_reply(f"**{name}**", names) == label
    assert class_of_reply("very good", names) == 3 and class_of_reply("n.a", names) == 4
    assert class_of_reply("NA\u0303O", names) == 7  # a letter of two code points


def test_where_the_name_stands():
    content = "<think>negative</think>\nSo:\n **Positive** \n"
    found = named_class(content, CLASSES)
    assert content[found.start : found.end] == "**Positive**" and found.label == 1


@pytest.mark.parametrize(
    "content", ["x" * 4_000_000, "<think>" * 500_000, "\n" * 4_000_000, "*" * 4_000_000, "<b " * 1_000_000]
)
def test_long_replies_take_little_time(content):
    start = time.monotonic()
    assert class_of_reply(content, CLASSES) == -1
    assert time.monotonic() - start < 5
