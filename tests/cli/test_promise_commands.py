"""`calibrate --confidence` promises what it has tested, `test` says whether that was kept."""

import contextlib
import json
import re
from pathlib import Path

import pytest

from kcm_lightning import load
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.data import DigitsLT
from kcm_lightning.monitor import monitor
from kcm_lightning.utils.errors import InputError
from tests.cli.test_fusion_commands import results_of, trained  # noqa: F401  a fixture
from tests.run_commands import kcm

pytestmark = pytest.mark.slow


def calibrated(run: Path) -> dict:
    return json.loads((run / "calibrated.json").read_text())


def test_a_promise_is_made_written_and_compared(trained):  # noqa: F811
    folder, config = trained
    words = ["--target", "accuracy_drop=0.05", "--confidence", "0.9"]
    printed = " ".join(kcm(folder, "calibrate", *config, *words).split())
    report = calibrated(folder / "run")
    certificate = report["certificate"]
    assert certificate["promised"] and certificate["bound"] == "exact" and certificate["p_value"] <= 0.1
    assert certificate["samples"] == report["samples"] and certificate["fitted_on"] == report["samples"]
    assert {"date", "data", "large_model_identity", "checkpoint_sha256"} <= report.keys()
    assert "promised: accuracy_drop=0.05, with a confidence of 90 %" in printed
    found = results_of(folder, *config, "--config", str(folder / "run" / "calibrated.yaml"))
    promise = found["promise"]
    assert promise["value"] == pytest.approx(-found["kcm_against_teacher"]["difference"])
    assert (
        promise["kept"] == (promise["value"] <= 0.05) and promise["low"] < promise["value"] < promise["high"]
    )
    assert found["calibrated"]["certificate"] == certificate


def test_it_is_said_in_words(trained):  # noqa: F811
    folder, config = trained
    kcm(folder, "calibrate", *config, "--target", "accuracy=0.7", "--confidence", "0.9", "--bound", "harms")
    printed = " ".join(
        kcm(folder, "test", *config, "--config", str(folder / "run" / "calibrated.yaml")).split()
    )
    assert "promise accuracy=0.7 (90 %): kept; the accuracy is" in printed


def test_each_region_is_promised(trained):  # noqa: F811
    folder, config = trained
    kcm(
        folder, "calibrate", *config, "--target", "accuracy_drop=0.2", "--confidence", "0.8", "--by", "region"
    )
    certificate = calibrated(folder / "run")["certificate"]
    assert certificate["by"] == "region" and certificate["promised"]
    found = results_of(folder, *config, "--config", str(folder / "run" / "calibrated.yaml"))
    assert set(found["promise"]["by_region"]) == set(found["accuracy"]["kcm"]) - {"overall"}


def test_what_cannot_be_shown_is_said(trained):  # noqa: F811
    folder, config = trained
    words = ["--target", "accuracy_drop=0.0001", "--confidence", "0.99", "--fuse", "false"]
    printed = " ".join(kcm(folder, "calibrate", *config, *words).split())
    assert "not promised: accuracy_drop=0.0001 could not be shown" in printed
    report = calibrated(folder / "run")
    assert not report["certificate"]["promised"] and report["thresholds"]["student"] is None
    assert report["certificate"]["without_promise"]["lm_rate"] <= 1
    found = results_of(folder, *config, "--config", str(folder / "run" / "calibrated.yaml"))
    assert "promise" not in found and found["lm_rate"]["called"] == 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target", "lm_rate=0.5", "--confidence", "0.9"], "limits what is spent, not what is lost"),
        (["--target", "accuracy_drop=0.1", "--confidence", "1.0"], "is outside [0.5, 0.999]"),
        (["--target", "accuracy_drop=0.1", "--by", "region"], "give --confidence 0.95 with them"),
        (["--target", "accuracy_drop=0.1", "--bound", "betting"], "give --confidence 0.95 with them"),
    ],
)
def test_what_makes_no_sense_is_refused(trained, words, said):  # noqa: F811
    folder, config = trained
    with pytest.raises(AssertionError, match=re.escape(said)):
        kcm(folder, "calibrate", *config, *words)


def test_what_is_predicted_is_monitored(trained):  # noqa: F811
    folder, config = trained
    kcm(folder, "calibrate", *config, "--target", "accuracy_drop=0.05", "--confidence", "0.9")
    calibrated_yaml = str(folder / "run" / "calibrated.yaml")
    kcm(folder, "predict", *config, "--config", calibrated_yaml, "--shadow", "0.5")
    rows = [
        json.loads(line) for line in next((folder / "run").rglob("predict.jsonl")).read_text().splitlines()
    ]
    shadowed = [row for row in rows if row["shadowed"]]
    assert 0.3 < len(shadowed) / len(rows) < 0.7
    for row in rows:
        assert (row["teacher_prediction"] is not None) == (row["shadowed"] or row["called"])
    monitor(folder / "run")
    found = json.loads((folder / "run" / "monitor.json").read_text())
    assert found["samples"] == len(rows) and found["labelled"] == len(shadowed) and found["limit"] == 0.05
    assert not found["kept_moved"]


def test_a_budget_of_calls_lasts(trained):  # noqa: F811
    folder, config = trained
    kcm(folder, "calibrate", *config, "--target", "lm_rate=0.5")
    words = [
        "--config",
        str(folder / "run" / "calibrated.yaml"),
        "--calls",
        "60",
        "--data.eval_batch_size=32",
    ]
    printed = " ".join(kcm(folder, "predict", *config, *words).split())
    spent = int(re.search(r"budget: (\d+) of 60 calls of the large model for 600 samples", printed)[1])
    assert 50 <= spent <= 60
    with pytest.raises(AssertionError, match="no price of an answer is known yet"):
        kcm(folder, "predict", *config, "--money", "1.0")


def test_what_is_answered_from_python_is_monitored(trained, tmp_path):  # noqa: F811
    folder, config = trained
    kcm(folder, "calibrate", *config, "--target", "accuracy_drop=0.05", "--confidence", "0.9")
    with contextlib.chdir(folder):
        run = load("run", calibrated="run/calibrated.yaml")
    run.module.thresholds = Thresholds(None, 0.0)  # recorded answers know no new images
    data = DigitsLT()
    data.setup()
    images = data.images[data.positions["test"]]
    with pytest.raises(InputError, match="shadow=2"):
        run.watch(tmp_path, shadow=2)
    alone = run.answer(images[:100])
    for name in ("calibrated.json", "calibrated.yaml", "data.json"):
        (tmp_path / name).write_text((folder / "run" / name).read_text())
    run.watch(tmp_path, shadow=0.0)
    for part in images[:100].split(40):
        run.answer(part)
    rows = [json.loads(line) for line in (tmp_path / "answers" / "predict.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(100))
    assert [row["prediction"] for row in rows] == alone.prediction.tolist()
    assert "100 samples answered, 0 of them compared" in monitor(tmp_path)[0][0]
