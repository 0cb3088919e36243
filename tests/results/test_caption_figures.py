"""Figures of captions where some are missing."""

import pytest
import torch

from kcm_lightning.core.routing import Route
from kcm_lightning.metrics.caption_scores import score_captions
from kcm_lightning.results.caption_figures import caption_rows, summarize_captions

REFERENCES = [["a red wall", "the wall is red"], ["a blue wall"], ["a green wall"]]


def columns(large: list[str | None]) -> dict:
    small = ["a red wall", "a red wall", "a green wall"]
    unsure = torch.tensor([float("nan") if caption is None else 0.9 for caption in large])
    routes = torch.tensor([Route.JUDGE, Route.STUDENT, Route.TEACHER])
    said = {
        "prediction": small,
        "confidence": torch.ones(3),
        "route": routes,
        "called": routes == Route.TEACHER,
    }
    for who in ("judge", "student"):
        said |= {f"{who}_prediction": small, f"{who}_confidence": torch.ones(3)}
    large_model = {"teacher_prediction": large, "teacher_without_hint_prediction": large}
    return said | large_model | {"teacher_without_hint_confidence": unsure}


def test_a_caption_that_the_large_model_has_not_counts_as_an_empty_one():
    large = ["a red wall", None, "a green wall"]
    found, images = summarize_captions(columns(large), REFERENCES, "words", compared=True)
    assert (
        found["without_caption"] == 1
        and {"teacher", "random"} <= set(found["scores"])
        and "teacher" in images
    )
    assert found["unanswered"] == {"kcm": 0, "teacher": 1}
    assert "Large, 1 unanswered" in caption_rows(found)[0] and "KCM" in caption_rows(found)[0]
    wanted = score_captions(["a red wall", "", "a green wall"], REFERENCES, "words", meteor=False)
    assert found["scores"]["teacher"] == pytest.approx(wanted)


def test_a_large_model_that_was_not_asked_has_no_column():
    found, _ = summarize_captions(columns([None, None, "a green wall"]), REFERENCES, "words", compared=False)
    assert set(found["scores"]) == {"judge", "student", "kcm"} and "without_caption" not in found
