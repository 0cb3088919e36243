"""Rows of batches, and answers put back in their places."""

import torch

from kcm_lightning.core.predictions import Prediction, Query, SmallPrediction, take


def test_take_rows_of_tensors_lists_and_dictionaries():
    rows = torch.tensor([2, 0])
    batch = {"pixels": torch.arange(6).reshape(3, 2), "texts": ["a", "b", "c"]}
    taken = take(batch, rows)
    assert taken["pixels"].tolist() == [[4, 5], [0, 1]] and taken["texts"] == ["c", "a"]


def test_answers_come_back_in_their_places():
    classes = SmallPrediction(torch.tensor([4, 7]), torch.tensor([0.5, 0.25]), torch.ones(2, 3))
    whole = classes.scatter(torch.tensor([3, 1]), 4)
    assert whole.prediction.tolist() == [-1, 7, -1, 4] and whole.confidence.isnan().tolist() == [1, 0, 1, 0]
    assert whole.distribution.isnan().any(1).tolist() == [True, False, True, False] and whole.logits is None
    captions = SmallPrediction(["x", "y"], torch.tensor([0.5, 0.25]))
    assert captions.scatter(torch.tensor([2, 0]), 3).prediction == ["y", None, "x"]
    assert captions.not_asked().prediction == [None, None] and captions.not_asked().confidence.isnan().all()


def test_rows_of_a_query_have_their_own_hints():
    rows = torch.tensor([1])
    query = Query(["a", "b"], Prediction(["x", "y"], torch.tensor([0.1, 0.2])), torch.tensor([8, 9])).rows(
        rows
    )
    assert query.inputs == ["b"] and query.hint.prediction == ["y"] and query.sample_ids.tolist() == [9]
    plain = Query(torch.arange(4).reshape(2, 2), torch.eye(2)).rows(rows)
    assert plain.inputs.tolist() == [[2, 3]] and plain.hint.tolist() == [[0, 1]] and plain.sample_ids is None
