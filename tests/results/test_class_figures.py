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
        "gate_score": sure,
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


def test_fused_answers_have_columns_of_their_own_and_are_what_routers_choose_from():
    """Twenty samples in two regions; half go to the large model, whose word the small ones change."""
    draw = torch.Generator().manual_seed(0)

    def said(share: float) -> torch.Tensor:
        return torch.where(torch.rand(20, generator=draw) < share, target, 1 - target)

    target = torch.arange(20) % 2
    judge, student, large, fused = said(0.5), said(0.6), said(0.7), said(0.9)
    called = torch.arange(20) < 10
    sure = torch.rand(20, generator=draw) / 2 + 0.5
    found = summarize(
        {
            "target": target,
            "prediction": torch.where(called, fused, student),
            "route": torch.where(called, int(Route.TEACHER), int(Route.STUDENT)),
            "called": called,
            "judge_prediction": judge,
            "judge_confidence": sure,
            "student_prediction": student,
            "student_confidence": sure,
            "gate_score": sure,
            "teacher_prediction": large,
            "teacher_without_hint_prediction": large,
            "fused_prediction": fused,
            "fused_confidence": sure,
        },
        torch.tensor([0, 1]),
        ("even", "odd"),
    )
    rows = {
        "even": list(range(0, 20, 2)),
        "odd": list(range(1, 20, 2)),
        "overall": list(range(20)),
    }
    for region, places in rows.items():
        of = {
            "both": [int(fused[i] == target[i]) for i in places],
            "unfused": [int((large if called[i] else student)[i] == target[i]) for i in places],
            "kcm": [int((fused if called[i] else student)[i] == target[i]) for i in places],
            "teacher": [int(large[i] == target[i]) for i in places],
        }
        small = [int(student[i] == target[i]) for i in places]
        for who, right in of.items():
            assert found["accuracy"][who][region] == sum(right) / len(places), who
        random = (sum(small) + sum(of["both"])) / 2 / len(places)
        assert abs(found["accuracy"]["random"][region] - random) < 1e-12
        helped = sum(one > other for one, other in zip(of["both"], small, strict=True))
        best = (sum(small) + min(helped, len(places) // 2)) / len(places)
        assert abs(found["accuracy"]["oracle"][region] - best) < 1e-12
    assert set(found["expected_calibration_error"]) == {"judge", "student", "both"}
    head, table = table_rows(found)
    assert head[3:7] == ["Large", "Both on all", "KCM", "KCM, not fused"]
    assert table[-1][3:7] == ["100.00", "100.00", "50.00", "50.00"]


def test_what_was_not_answered_is_null_in_the_predictions():
    lines = prediction_lines(columns() | {"index": torch.arange(8)}, ["ant", "bee"]).splitlines()
    assert '"teacher_without_hint_prediction": null' in lines[0]
    assert '"route": "student"' in lines[6] and '"teacher_prediction": null' in lines[6]
