"""Recorded answers: found by place or text, missing ones named."""

import json

import pytest
import torch

from kcm_lightning.core.predictions import Purpose, Query
from kcm_lightning.large import Recorded, with_cache
from kcm_lightning.utils.errors import InputError


def recorded(path, lines, classes=("negative", "positive"), **options) -> Recorded:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    model = Recorded(str(path), **options)
    model.load(list(classes), torch.device("cpu"))
    return model


def test_answers_by_place_and_by_text(tmp_path):
    lines = [{"index": 7, "answer": "Positive", "confidence": 0.6}, {"text": "bad", "answer": "negative"}]
    model = recorded(tmp_path / "a.jsonl", lines, recorded_confidence=0.8)
    answer = model.answer(Query(["anything", "bad"], sample_ids=torch.tensor([7, 8])))
    assert answer.prediction.tolist() == [1, 0]
    torch.testing.assert_close(answer.confidence, torch.tensor([0.6, 0.8]))
    assert not model.paid and with_cache(model, "x") is model


def test_a_missing_answer_is_an_error_in_test_and_no_confidence_in_fit(tmp_path):
    model = recorded(tmp_path / "a.jsonl", [{"index": 1, "answer": "positive"}])
    with pytest.raises(InputError, match=r"no answer to sample 2 'fine'"):
        model.answer(Query(["good", "fine"], sample_ids=torch.tensor([1, 2])))
    taught = model.distribution(Query(["good", "fine"], sample_ids=torch.tensor([1, 2]), purpose=Purpose.FIT))
    assert taught[1].isnan().all() and not taught[0].isnan().any()


def test_odd_but_right_files(tmp_path):
    lines = [
        {"index": "7", "answer": "positive", "confidence": 0.0},
        "",
        {"index": None, "text": "a\u2028b", "answer": "negative"},
    ]
    model = recorded(
        tmp_path / "a.jsonl", ["\ufeff" + json.dumps(lines[0]), "", json.dumps(lines[2], ensure_ascii=False)]
    )
    taught = model.distribution(
        Query(["x", "a\u2028b"], sample_ids=torch.tensor([7, 8]), purpose=Purpose.FIT)
    )[:, 0]
    assert taught[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-3) and taught[1].argmax() == 0
    (tmp_path / "b.jsonl").write_bytes('{"text": "caf\xe9"}'.encode("latin-1"))
    with pytest.raises(InputError, match="is no UTF-8"):
        Recorded(str(tmp_path / "b.jsonl")).load(["a"], torch.device("cpu"))


def test_classes_are_matched_as_everywhere(tmp_path):
    lines = [{"index": 1, "answer": "Lawn Mower"}, {"index": 2, "answer": "lawn-mower "}]
    model = recorded(tmp_path / "a.jsonl", lines, classes=("cat", "lawn_mower"))
    assert model.answer(Query([""] * 2, sample_ids=torch.tensor([1, 2]))).prediction.tolist() == [1, 1]
    numbers = recorded(tmp_path / "a.jsonl", [{"index": 1, "answer": 3}], classes=("5", "3", "1"))
    assert numbers.answer(Query([""], sample_ids=torch.tensor([1]))).prediction.tolist() == [1]
    with pytest.raises(
        InputError, match=r"line 1: 'cra' is none of the data's class names \(perhaps 'crab'\)"
    ):
        recorded(tmp_path / "a.jsonl", [{"index": 1, "answer": "cra"}], classes=("crab", "dog"))


def test_classes_that_differ_in_case_or_strokes_alone_need_the_very_name(tmp_path):
    lines = [{"index": number, "answer": name} for number, name in enumerate(("a", "A", "-", "_", " B"))]
    model = recorded(tmp_path / "a.jsonl", lines, classes=("A", "a", "_", "-", "b"))
    answer = model.answer(Query([""] * 5, sample_ids=torch.arange(5)))
    assert answer.prediction.tolist() == [1, 0, 3, 2, 4]
    with pytest.raises(InputError, match="line 1: 'CRAB' is none of the data's class names"):
        recorded(tmp_path / "a.jsonl", [{"index": 1, "answer": "CRAB"}], classes=("Crab", "crab"))


def test_two_answers_to_one_sample_are_an_error(tmp_path):
    """The one by its index won, unsaid."""
    lines = [{"index": 1, "answer": "positive"}, {"text": "good", "answer": "negative"}]
    query = Query(["good"], sample_ids=torch.tensor([1]))
    with pytest.raises(InputError, match="two answers to sample 1 'good', one by its index and one by its"):
        recorded(tmp_path / "a.jsonl", lines).answer(query)
    lines[1]["answer"] = "positive"
    assert recorded(tmp_path / "a.jsonl", lines).answer(query).prediction.tolist() == [1]


def test_what_is_advised_about_a_missing_answer_helps(tmp_path):
    """It advised --model.compare=false also to who had set that, and to who asked from Python."""
    model = recorded(tmp_path / "a.jsonl", [{"text": "good", "answer": "positive"}])
    with pytest.raises(InputError, match="sample 2 'fine'; record it: every sample that the model is asked"):
        model.answer(Query(["fine"], sample_ids=torch.tensor([2])))
    with pytest.raises(InputError, match="sample 'fine'; to inputs of your own answers a line with the very"):
        model.answer(Query(["fine"]))


def test_a_second_load_with_other_classes_counts(tmp_path):
    model = recorded(tmp_path / "a.jsonl", [{"index": 1, "answer": "dog"}], classes=("cat", "dog"))
    model.load(["dog", "cat"], torch.device("cpu"))
    assert model.answer(Query([""], sample_ids=torch.tensor([1]))).prediction.tolist() == [0]


def test_an_answer_to_another_text_is_found_out(tmp_path):
    line = {"index": 1, "text": "good", "answer": "positive"}
    model = recorded(tmp_path / "a.jsonl", [line])
    assert model.answer(Query(["good"], sample_ids=torch.tensor([1]))).prediction.tolist() == [1]
    for purpose in Purpose:
        with pytest.raises(InputError, match="the answer to sample 1 'bad' is to another text, 'good'"):
            model.distribution(Query(["bad"], sample_ids=torch.tensor([1]), purpose=purpose))


@pytest.mark.parametrize(
    "line",
    [
        '{"index": 1.9, "answer": "positive"}',
        '{"index": "1.9", "answer": "positive"}',
        '{"index": Infinity, "answer": "positive"}',
        '{"index": 1e999, "answer": "positive"}',
        '{"index": NaN, "answer": "positive"}',
        '{"index": true, "answer": "positive"}',
        '{"index": "seven", "answer": "positive"}',
        '{"index": "1_0", "answer": "positive"}',
        '{"index": " 10", "answer": "positive"}',
        '{"index": "\u0661", "answer": "positive"}',
        '{"index": 1, "answer": "positive", "confidence": "0.9_1"}',
        '{"index": 1, "answer": 7}',
        '{"index": 1, "answer": -1}',
        '{"index": 1, "answer": true}',
        '{"index": 1, "answer": null}',
        '{"index": 1, "answer": ["positive"]}',
        '{"index": 1, "answer": "positive", "answer": "negative"}',
        '{"index": 1, "index": 2, "answer": "positive"}',
        '{"index": 1, "answer": "positive", "confidence": NaN}',
        '{"index": 1, "answer": "positive", "confidence": true}',
        '{"index": 1, "answer": "positive", "confidence": "sure"}',
        '{"index": 1, "answer": "positive", "confidence": [1]}',
        '{"text": ["a"], "answer": "positive"}',
        '{"index": 1, "text": 5, "answer": "positive"}',
        "[" * 100_000,
    ],
)
def test_what_is_not_said_clearly_is_refused(line, tmp_path):
    with pytest.raises(InputError, match=r"a\.jsonl, line 1") as error:
        recorded(tmp_path / "a.jsonl", [line])
    assert "\n" not in str(error.value)


def test_whole_numbers_in_any_notation_are_sample_ids(tmp_path):
    lines = ['{"index": 7.0, "answer": "positive"}', '{"index": "8", "answer": "negative"}']
    model = recorded(tmp_path / "a.jsonl", lines)
    assert model.answer(Query([""] * 2, sample_ids=torch.tensor([7, 8]))).prediction.tolist() == [1, 0]


def test_bad_files_name_the_line(tmp_path):
    good = {"index": 1, "answer": "positive"}
    for bad in (
        "{",
        {"index": 1, "answer": "negative"},
        {"index": [1], "answer": "negative"},
        "[]",
        {"answer": "positive"},
        {"index": 2},
        {"index": 2, "answer": "so so"},
        {**good, "confidence": 2},
    ):
        with pytest.raises(InputError, match=r"a\.jsonl, line 2"):
            recorded(tmp_path / "a.jsonl", [good, bad])
    with pytest.raises(InputError, match="there is no file"):
        Recorded(str(tmp_path / "none")).load(["a"], torch.device("cpu"))
    with pytest.raises(InputError, match="outside"):
        Recorded("x", recorded_confidence=1.5)
