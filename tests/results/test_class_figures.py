"""Figures of a test in which the large model has given some samples no answer."""

import torch

from kcm_lightning.core.predictions import NO_ANSWER
from kcm_lightning.core.routing import Route
from kcm_lightning.results.class_figures import prediction_lines, summarize, table_rows


def columns() -> dict:
    """Eight samples of two classes, all right but where something is missing; three of them were routed."""
    target = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    large = target.clone()
    large[[0, 3, 6]] = NO_ANSWER
    routes = torch.tensor([Route.JUDGE] * 5 + [Route.TEACHER, Route.STUDENT, Route.TEACHER])
    called = torch.tensor([False] * 5 + [True] * 3)
    student = target.clone()
    student[6] = 1  # wrong, and it stands in the large model's stead
    sure = torch.full((8,), 0.9)
    return {
        "target": target,
        "prediction": torch.where(called & (large == NO_ANSWER), student, target),
        "route": routes,
        "called": called,
        "judge_prediction": target,
        "judge_confidence": sure,
        "student_prediction": student,
        "student_confidence": sure,
        "teacher_prediction": torch.where(called, large, -1),
        "teacher_without_hint_prediction": large,
    }


def test_a_column_with_unanswered_samples_says_how_many():
    found = summarize(columns(), torch.tensor([0, 0]), ("all",))
    assert found["unanswered"] == {"kcm": 1, "teacher": 3}
    assert found["accuracy"]["teacher"]["overall"] == 5 / 8 and found["accuracy"]["kcm"]["overall"] == 7 / 8
    head, rows = table_rows(found)
    assert head[1:5] == ["Small (judge)", "Student", "Large, 3 unanswered", "KCM, 1 unanswered"]
    assert rows[0][3:5] == ["62.50", "87.50"]


def test_a_large_model_that_was_asked_about_routed_samples_alone_is_counted_there():
    asked = columns()
    asked["teacher_without_hint_prediction"] = asked["teacher_prediction"]
    found = summarize(asked, torch.tensor([0, 0]), ("all",))
    assert found["unanswered"] == {"kcm": 1}
    assert table_rows(found)[0] == ["%", "Small (judge)", "KCM, 1 unanswered"]


def test_a_table_without_any_has_the_plain_titles():
    whole = columns()
    for name in ("teacher_prediction", "teacher_without_hint_prediction"):
        whole[name] = whole["target"]
    head, _ = table_rows(summarize(whole, torch.tensor([0, 0]), ("all",)))
    assert head[3:5] == ["Large", "KCM"]


def test_what_was_not_answered_is_null_in_the_predictions():
    lines = prediction_lines(columns() | {"index": torch.arange(8)}, ["ant", "bee"]).splitlines()
    assert '"teacher_without_hint_prediction": null' in lines[0]
    assert '"route": "student"' in lines[6] and '"teacher_prediction": null' in lines[6]
