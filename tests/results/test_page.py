"""`results.md` says what it is of and how it was made."""

import json

from kcm_lightning.core.routing import Thresholds
from kcm_lightning.results.calibrated_file import chosen_for
from kcm_lightning.results.page import results_page, verdicts

FOUND = {
    "samples": 600,
    "lm_rate": {"called": 0.18, "answered": 0.18},
    "kcm_against_teacher": {"better": 1, "worse": 5, "difference": -0.00667, "low": -0.015, "high": 0.0},
    "kcm_against_random": {"difference": 0.0343, "low": 0.02, "high": 0.05},
    "thresholds": {"judge": 0.95272, "student": 0.77666, "teacher": 0.98},
    "temperatures": {"judge": 0.5, "student": 0.6, "teacher": 1.0},
    "calibrated": {"target": "accuracy_drop=0.01", "samples": 150},
    "large_model": {"money_per_1000_samples": 0.1234567, "currency": "EUR"},
    "seed": 0,
    "commit": None,
    "command": "python -m kcm_lightning test --config a.yaml",
    "versions": {"torch": "2.15.0"},
    "data": {"title": "digits", "splits": {"test": {"samples": 600, "sha256": "8dd2d595a6568f73"}}},
    "config": {
        "model": {
            "init_args": {
                "teacher": {"class_path": "kcm_lightning.large.ImageClassifier", "init_args": {"name": "big"}}
            }
        }
    },
}
TABLE = (["%", "KCM"], [["overall", "98.00"]])


def test_all_of_it_is_there():
    page = results_page("digits, 600 test samples", TABLE, FOUND)
    for shown in (
        "# digits, 600 test samples",
        "| overall | 98.00 |",
        "called for 18.00 % of the samples",
        "-0.67 (95 % interval -1.50 to +0.00) points; KCM alone is right on 1, the large model alone on 5",
        "Routing is better than chance: KCM - random router +3.43 points (95 % interval +2.00 to +5.00).",
        "0.1235 EUR per 1,000 samples",
        "test split 8dd2d595a6568f73",
        "ImageClassifier, `big`",
        "judge 0.9527, student 0.7767; chosen by `calibrate` for accuracy_drop=0.01 on 150 samples",
        "judge 0.5, student 0.6, teacher 1",
        "`python -m kcm_lightning test --config a.yaml`",
    ):
        assert shown in page, shown


def test_what_is_not_known_is_left_out():
    few = {name: FOUND[name] for name in ("lm_rate", "seed", "command", "versions", "data", "config")}
    few |= {"thresholds": {"judge": None, "student": None, "teacher": None}, "not_done": ["it was short"]}
    page = results_page("digits", TABLE, few)
    assert "note: it was short" in page and "the large model answers all; as given, not calibrated" in page
    assert "Cost" not in page and "chance" not in page and "Temperatures" not in page


def test_doubts_about_routing_are_told_apart():
    scores = {
        "BLEU-4": {"difference": 0.01, "low": 0.001, "high": 0.02},
        "CIDEr": {"difference": 0.01, "low": -0.01, "high": 0.03},
    }
    captions = {"lm_rate": {"called": 0.5}, "kcm_against_random": scores}
    assert [said.split(":")[0] for said in verdicts(captions)] == [
        "Routing is better than chance",
        "Routing is no better than chance here",
    ]
    assert len(verdicts(captions, only_doubtful=True)) == 1
    assert not verdicts(captions | {"lm_rate": {"called": 1.0}})  # nothing was routed


def test_the_target_is_that_of_the_thresholds_in_use(tmp_path):
    report = {"target": "lm_rate=0.5", "samples": 150, "thresholds": {"judge": 0.9, "student": 0.8}}
    (tmp_path / "calibrated.json").write_text(json.dumps(report))
    (tmp_path / "data.json").write_text("{}")
    files = [tmp_path / "calibrated.yaml", tmp_path / "data.yaml", tmp_path / "config.yaml"]
    assert chosen_for(files, Thresholds(0.9, 0.8)) == {"target": "lm_rate=0.5", "samples": 150}
    assert chosen_for(files, Thresholds(0.9, 0.7)) == {}
    assert chosen_for(files[1:], Thresholds(0.9, 0.8)) == {}
