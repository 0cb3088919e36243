"""What a test says at its end: how it compares, where things are, what comes next."""

import json

from kcm_lightning.results.end_of_test import end_of_test, operating_points
from kcm_lightning.results.tensorboard import tensorboard_command


def results(kcm=0.98, rate=0.18, student=0.7767, **other):
    return {
        "samples": 600,
        "lm_rate": {"called": rate},
        "thresholds": {"judge": 0.9527, "student": student},
        "accuracy": {"kcm": {"overall": kcm}, "teacher": {"overall": 0.9867}},
        "kcm_against_teacher": {"difference": kcm - 0.9867},
        "data": {"splits": {"test": {"samples": 600, "sha256": "8dd2"}}},
    } | other


def test_both_operating_points_stand_side_by_side(tmp_path):
    first = results(kcm=0.985, rate=0.6217, student=0.9)
    (tmp_path / "results.json").write_text(json.dumps(first))
    now = results(calibrated={"target": "accuracy_drop=0.01", "samples": 150})
    assert operating_points(tmp_path, tmp_path / "tests" / "x", now) == (
        ["%", "accuracy", "LM rate"],
        [
            ["KCM, judge 0.9527, student 0.9", "98.50", "62.17"],
            ["KCM, accuracy_drop=0.01", "98.00", "18.00"],
            ["large model alone", "98.67", "100.00"],
        ],
    )


def test_nothing_stands_beside_a_first_test_or_other_data(tmp_path):
    now = results()
    assert operating_points(tmp_path, tmp_path, now) is None
    assert operating_points(tmp_path, tmp_path / "tests", now) is None  # there is no first one
    for text in (
        "{",
        "[]",
        "[" * 100_000,
        json.dumps(results(data={"splits": {"test": {"samples": 1, "sha256": "0"}}})),
    ):
        (tmp_path / "results.json").write_text(text)
        assert operating_points(tmp_path, tmp_path / "tests", now) is None


def test_the_end_says_what_was_saved_where_things_are_and_what_comes_next(tmp_path):
    (tmp_path / "curve.png").touch()
    run = tmp_path
    assert end_of_test(run, run, results()) == [
        "saved: 492 of 600 calls of the large model, for 0.67 points of accuracy",
        f"results: {run / 'results.json'}",
        f"curve: {run / 'curve.png'}",
        f"next: python -m kcm_lightning calibrate --config {run / 'config.yaml'} --target accuracy_drop=0.01",
        f"next: python -m kcm_lightning report {run}",
        f"next: {tensorboard_command(run)}",
    ]
    better = end_of_test(run, run / "tests", results(kcm=0.9967, calibrated={"target": "x"}))
    assert better[0] == "saved: 492 of 600 calls of the large model, with 1.00 points more accuracy"
    both = f"--config {run / 'config.yaml'} --config {run / 'calibrated.yaml'}"
    assert better[2] == f"next: python -m kcm_lightning predict {both}"
    assert end_of_test(run, run, results(kcm=0.9867))[0].endswith("large model, at the same accuracy")
    captions = {"samples": 10, "lm_rate": {"called": 0.5}, "scores": {}, "kcm_against_teacher": {"CIDEr": {}}}
    assert end_of_test(run, run, captions)[0] == "saved: 5 of 10 calls of the large model"
