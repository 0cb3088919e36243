"""The learned gate and the choice of captions, caption by caption."""

import math
import statistics

import pytest
import torch

from kcm_lightning.core.caption_gate import (
    CaptionChoice,
    CaptionGate,
    caption_features,
    choice_features,
    token_features,
)
from kcm_lightning.core.collaboration import Ask, Gates, Roles, collaborate
from kcm_lightning.core.predictions import Prediction, SmallPrediction, take
from kcm_lightning.core.routing import Route, Thresholds

LENGTHS = [3, 1, 5, 2, 4, 3]


def said(seed: int, words: list[str]) -> SmallPrediction:
    draw = torch.Generator().manual_seed(seed)
    log_probs = -torch.rand(6, 5, generator=draw)
    counted = torch.arange(5) < torch.tensor(LENGTHS).unsqueeze(1)
    confidence = torch.rand(6, generator=draw)
    return SmallPrediction(words, confidence, token_features=token_features(log_probs, counted))


JUDGE = said(0, ["a wall", "red", "b", "c", "d", "e"])
STUDENT = said(1, ["a wall", "blue", "b", "x", "y", "z"])


def test_features_equal_the_definitions():
    log_probs = -torch.rand(6, 5)
    counted = torch.arange(5) < torch.tensor(LENGTHS).unsqueeze(1)
    found = token_features(log_probs.masked_fill(~counted, float("-inf")), counted)
    for row, length in enumerate(LENGTHS):
        own = log_probs[row, :length].tolist()
        wanted = [length, statistics.mean(own), min(own), statistics.pstdev(own)]
        assert found[row].tolist() == pytest.approx(wanted, abs=1e-5)
    assert token_features(log_probs, torch.zeros(6, 5, dtype=torch.bool)).eq(0).all()
    both = caption_features(JUDGE, STUDENT)
    assert both[:, -1].tolist() == [1, 0, 1, 0, 0, 0]
    assert torch.equal(both[:, :4], STUDENT.token_features)
    assert torch.equal(both[:, 4:8], JUDGE.token_features)
    sure = torch.tensor([0.9, 1.0, 0.0, 0.5, 0.2, 0.7])
    odds = choice_features(both, sure)[:, -1]
    assert odds[0].item() == pytest.approx(math.log(9), abs=1e-4) and odds.isfinite().all()


class Large:
    """Says its own; nothing of the fourth image."""

    uses_hint = False

    def answer(self, query, temperature=1.0):
        captions = [None if row == 3 else f"large {row}" for row in query.inputs.tolist()]
        sure = torch.tensor([float("nan") if own is None else 0.7 for own in captions])
        return Prediction(captions, sure)


def pick(whole: SmallPrediction):
    return lambda rows: SmallPrediction(
        take(whole.prediction, rows), whole.confidence[rows], token_features=whole.token_features[rows]
    )


@pytest.mark.parametrize("ask", [Ask.NOBODY, Ask.EVERYONE])
def test_a_learned_gate_routes_and_the_better_caption_stands(ask):
    gate = CaptionGate(0.5, student_mean=2.0, student_length=-0.2)
    choice = CaptionChoice(0.0, student_mean=0.0, student_minimum=1.0, teacher_confidence=0.5)
    gates = Gates(Thresholds(None, 0.45), learned=gate, fusion=choice)
    rows = torch.arange(6)
    batch = {"small": rows, "large": rows, "index": rows}
    found = collaborate(batch, roles=Roles(pick(JUDGE), pick(STUDENT), Large()), gates=gates, ask=ask)
    routes = []
    for row in range(6):
        length, mean, least, _ = STUDENT.token_features[row].tolist()
        kept = 1 / (1 + math.exp(-(0.5 + 2 * mean - 0.2 * length))) >= 0.45
        students = kept or row == 3 or least + 0.5 * math.log(0.7 / 0.3) > 0
        wanted = STUDENT.prediction[row] if students else f"large {row}"
        assert found.prediction[row] == wanted and bool(found.called[row]) is not kept
        routes.append(Route.STUDENT if kept or row == 3 else Route.TEACHER)
        if not kept or ask is Ask.EVERYONE:
            assert found.teacher_prediction[row] == (None if row == 3 else f"large {row}")
    assert found.route.tolist() == routes and Route.TEACHER in routes and found.distribution is None
    routed = [found.prediction[row] for row in range(6) if routes[row] == Route.TEACHER]
    assert len({own.startswith("large") for own in routed}) == 2  # of both
