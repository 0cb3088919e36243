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
