"""`calibrate` fits gate and fusion, `test` shows what each brings, and both can be left out."""

import json
import random
from pathlib import Path

import pytest
import yaml

from kcm_lightning.data import DigitsLT
from tests.run_commands import kcm, results_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, list[str]]:
    """A run whose large model is right on eight digits of ten, where the small models err or not."""
    folder = tmp_path_factory.mktemp("fusion")
    data, draw = DigitsLT(), random.Random(0)
    data.setup()
    with (folder / "answers.jsonl").open("w") as file:
        for index, label in enumerate(data.labels.tolist()):
            answer = label if draw.random() < 0.8 else draw.randrange(10)
            file.write(json.dumps({"index": index, "answer": str(answer), "confidence": 0.8}) + "\n")
    large = [
        "--model.teacher=kcm_lightning.large.Recorded",
        f"--model.teacher.path={folder / 'answers.jsonl'}",
    ]
    small = ["--model.judge_phase.epochs=12", "--model.student_phase.epochs=3", "--data.distill_split=pool"]
    kcm(folder, "fit", "--config", "quickstart.yaml", *large, *small, "--run", "run")
    return folder, ["--config", str(folder / "run" / "config.yaml")]


def results_of(folder: Path, *words: str) -> dict:
    return json.loads((results_in(folder, kcm(folder, "test", *words)) / "results.json").read_text())


def test_what_gate_and_fusion_bring_is_in_the_results(trained):
    folder, config = trained
    printed = kcm(folder, "calibrate", *config, "--target", "lm_rate=0.5")
    assert (
        "fusion: weights teacher" in printed and "points on samples that they were not fitted on" in printed
    )
    settings = yaml.safe_load((folder / "run" / "calibrated.yaml").read_text())["model"]["init_args"]
    report = json.loads((folder / "run" / "calibrated.json").read_text())
    assert settings["fusion"] == report["fusion"] and settings["fusion"]["judge"] > 0.1
    assert report["fusion_gain"] > 0.03
    found = results_of(folder, *config, "--config", str(folder / "run" / "calibrated.yaml"))
    assert found["fusion"] == settings["fusion"] and found["gate"] == settings["gate"]
    accuracy = {who: values["overall"] for who, values in found["accuracy"].items()}
    assert accuracy["both"] > accuracy["teacher"] + 0.03 and accuracy["kcm"] > accuracy["unfused"]
    random_router = (1 - found["lm_rate"]["called"]) * accuracy["student"]
    assert accuracy["random"] == pytest.approx(random_router + found["lm_rate"]["called"] * accuracy["both"])
    assert "both" in found["expected_calibration_error"]
    page = next((folder / "run").rglob("results.md"))
    assert "fused with the small ones: teacher" in page.read_text() and "fusion brings +" in page.read_text()


def test_points_of_the_curve_are_tests_at_those_thresholds(trained):
    folder, config = trained
    kcm(folder, "calibrate", *config, "--target", "lm_rate=0.5")
    both = [*config, "--config", str(folder / "run" / "calibrated.yaml"), "--model.thresholds.judge=null"]
    place = results_in(folder, kcm(folder, "test", *both))
    rows = [json.loads(line) for line in (place / "predictions.jsonl").read_text().splitlines()]
    rows.sort(key=lambda row: row["gate_score"])  # the least sure first
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        called = round(share * len(rows))
        while rows[called - 1]["gate_score"] == rows[called]["gate_score"]:
            called += 1
        right = [
            row["fused_prediction" if place < called else "student_prediction"] == row["target_index"]
            for place, row in enumerate(rows)
        ]
        threshold = rows[called]["gate_score"]
        found = results_of(folder, *both, f"--model.thresholds.student={threshold!r}")
        assert found["lm_rate"]["called"] == called / len(rows)
        assert found["accuracy"]["kcm"]["overall"] == sum(right) / len(rows)


def test_both_can_be_left_out(trained):
    folder, config = trained
    out = str(folder / "plain.yaml")
    words = ["--gate", "confidence", "--fuse", "false", "--output", out]
    printed = kcm(folder, "calibrate", *config, "--target", "lm_rate=0.5", *words)
    assert "fusion: " not in printed and "gate: learned" not in printed
    settings = yaml.safe_load(Path(out).read_text())["model"]["init_args"]
    assert settings["fusion"] is None and settings["gate"] == "confidence"
    found = results_of(folder, *config, "--config", out)
    assert found["fusion"] is None and found["gate"] == "confidence"
    assert not {"both", "unfused"} & set(found["accuracy"])


def test_weights_can_be_set_by_hand(trained):
    folder, config = trained
    by_hand = ["--model.fusion.teacher=0", "--model.fusion.judge=1"]
    closed = ["--model.thresholds.judge=null", "--model.thresholds.student=null"]
    found = results_of(folder, *config, *closed, *by_hand)
    assert found["fusion"] == {"teacher": 0.0, "judge": 1.0, "student": 0.0, "class_count": 0.0}
    assert found["accuracy"]["kcm"] == found["accuracy"]["judge"]  # which has all the say
    gate = ["--model.gate.intercept=1", "--model.gate.student_confidence=2"]
    found = results_of(folder, *config, *gate, "--model.thresholds.student=0.5")
    assert found["gate"]["intercept"] == 1.0 and found["gate"]["student_confidence"] == 2.0
    with pytest.raises(AssertionError, match=r"fusion judge=-1"):
        kcm(folder, "test", *config, "--model.fusion.judge=-1")
    with pytest.raises(AssertionError, match="set gate to confidence"):
        kcm(folder, "test", *config, *gate, "--model.second_gate=teacher")


def test_a_paid_model_is_not_asked_for_the_sake_of_a_fusion(trained, monkeypatch):
    folder, config = trained
    monkeypatch.setattr("kcm_lightning.large.Recorded.paid", True)
    printed = kcm(folder, "calibrate", *config, "--target", "lm_rate=0.5", "--output", str(folder / "p.yaml"))
    assert "fusion: " not in printed
    assert yaml.safe_load((folder / "p.yaml").read_text())["model"]["init_args"]["fusion"] is None
