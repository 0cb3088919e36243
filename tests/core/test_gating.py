"""Partition and route against the algorithms written as loops over samples."""

import math

import pytest
import torch
from kcm_lightning.core.gating import (
    Part,
    Route,
    Thresholds,
    caption_confidence,
    keeps,
    partition,
    probabilities,
    route,
    take,
)

from kcm_lightning.utils.errors import InputError


def kept(confidence, threshold):
    return threshold is not None and confidence >= threshold


@pytest.mark.parametrize("judge", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("other", [None, 0.0, 0.7])
def test_against_loops(judge, other):
    torch.manual_seed(0)
    c_x, c_o = torch.rand(200), torch.rand(200)
    c_x[:3], c_o[:3] = torch.tensor([0.5, 1.0, 0.0]), torch.tensor([0.7, 0.7, 0.7])  # ties are kept
    thresholds = Thresholds(judge, other, other)
    printed = partition(c_x, c_o, thresholds, "printed").tolist()
    teacher_first = partition(c_x, c_o, thresholds, "teacher_first").tolist()
    routes = route(c_x, c_o, thresholds).tolist()
    for i, (x, o) in enumerate(zip(c_x.tolist(), c_o.tolist(), strict=True)):
        by_judge, by_other = kept(torch.tensor(x), judge), kept(torch.tensor(o), other)
        assert printed[i] == (Part.JUDGE if by_judge else Part.TEACHER if by_other else Part.NONE)
        assert teacher_first[i] == (Part.TEACHER if by_other else Part.JUDGE if by_judge else Part.NONE)
        assert routes[i] == (Route.JUDGE if by_judge else Route.STUDENT if by_other else Route.TEACHER)


def test_second_gate_uses_its_own_threshold():
    thresholds = Thresholds(judge=None, student=0.9, teacher=0.1)
    confidence = torch.tensor([0.5])
    assert route(confidence, confidence, thresholds).item() == Route.TEACHER
    assert route(confidence, confidence, thresholds, "teacher").item() == Route.STUDENT


def test_confidence_is_not_rounded_to_one_in_half_precision():
    logits = torch.tensor([[12.0, 0.0]], dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        confidence = probabilities(logits).amax(-1)
    assert confidence.dtype == torch.float32 and 0.99999 < confidence.item() < 1
    assert not keeps(confidence, 0.999999).item()
    torch.testing.assert_close(
        probabilities(torch.tensor([[2.0, 0.0]]), 2.0), torch.tensor([[1.0, 0.0]]).softmax(-1)
    )


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan")])
def test_thresholds_outside_the_unit_interval_are_refused(value):
    with pytest.raises(InputError, match=r"judge=.*\[0, 1\]"):
        Thresholds(judge=value)


def test_take_rows_of_tensors_lists_and_dictionaries():
    rows = torch.tensor([2, 0])
    batch = {"pixels": torch.arange(6).reshape(3, 2), "texts": ["a", "b", "c"]}
    taken = take(batch, rows)
    assert taken["pixels"].tolist() == [[4, 5], [0, 1]] and taken["texts"] == ["c", "a"]


@pytest.mark.parametrize(
    ("kind", "naive"),
    [
        ("geometric_mean", lambda p: math.prod(p) ** (1 / len(p))),
        ("mean", lambda p: sum(p) / len(p)),
        ("minimum", min),
    ],
)
def test_confidence_of_a_caption(kind, naive):
    said = [[0.5, 0.25, 0.9], [0.1], [1.0, 0.3]]
    log = torch.full((3, 4), float("-inf"))  # where nothing is said
    counted = torch.zeros(3, 4, dtype=torch.bool)
    for row, values in enumerate(said):
        log[row, : len(values)] = torch.tensor(values).log()
        counted[row, : len(values)] = True
    wanted = torch.tensor([naive(values) for values in said])
    torch.testing.assert_close(caption_confidence(log, counted, kind), wanted)
