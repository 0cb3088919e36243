"""The commands of MCM's and of forgetting's configurations, on digits instead of CIFAR-100."""

import json
import sys
from pathlib import Path

import pytest

from kcm_lightning import load
from kcm_lightning.cli import main
from kcm_lightning.utils.errors import InputError
from tests.tensorboard_tags import events_in, unexplained

pytestmark = pytest.mark.slow

DIGITS = [
    "--data=kcm_lightning.data.DigitsLT",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]
SEQUENCE = [
    *DIGITS,
    "--model.model.num_classes=10",
    "--model.model.width=8",
    "--model.model.depths=[1,1]",
    "--model.compile=false",
]


@pytest.fixture
def kcm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def kcm(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["kcm_lightning", *words])
        main(list(words))

    return kcm


def refused(kcm, capsys, *words: str) -> str:
    """The one line that a refused command says."""
    with pytest.raises(SystemExit) as stop:
        kcm(*words)
    assert stop.value.code == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return said


@pytest.fixture
def mcm(tiny_classifier) -> list[str]:
    teacher = [
        f"--model.teacher.name={tiny_classifier(10)}",
        "--model.teacher=kcm_lightning.large.ImageClassifier",
    ]
    judge = [
        "--model.judge=kcm_lightning.small.ExpertResNet32",
        "--model.judge.num_classes=10",
        "--model.judge.blocks=1",
    ]
    gates = [
        "--model.distill_thresholds.teacher=0",
        "--model.pruning.classes=[0,1]",
        "--data.distill_split=pool",
    ]
    return [
        *DIGITS,
        *reversed(teacher),
        *judge,
        *gates,
        "--model.judge_phase.epochs=1",
        "--model.student_phase.epochs=1",
    ]


@pytest.mark.parametrize("config", ["cifar_lt_mcm", "cifar_lt_datashunt"])
def test_mcm_is_trained_calibrated_and_tested(kcm, capsys, mcm, config):
    kcm("fit", "--config", f"{config}.yaml", *mcm, "--model.distill_thresholds.judge=0.9", "--model.buffer=8")
    run = Path(f"runs/{config}/0")
    kcm("calibrate", "--config", str(run / "config.yaml"), "--target", "lm_rate=0.5")
    kcm("test", "--config", str(run / "config.yaml"), "--config", str(run / "calibrated.yaml"))
    found = json.loads((run / "results.json").read_text())
    assert found["samples"] == 600 and found["config"]["model"]["class_path"].endswith("KCMTwoStage")
    assert "fitted_with" not in found  # the gates are chosen after the fit
    assert "student" not in found["expected_calibration_error_untempered"]  # its logits know of no pruning
    kcm("report", str(run))
    assert "## Classification: sklearn-digits" in capsys.readouterr().out


def test_a_distillation_that_cannot_step_says_why(kcm, capsys, mcm):
    said = refused(kcm, capsys, "fit", "--config", "cifar_lt_mcm.yaml", *mcm, "--model.buffer=500")
    assert "made no step" in said and "a buffer takes 500" in said and "--ckpt_path last" in said
    assert Path("runs/cifar_lt_mcm/0/checkpoints/last.ckpt").is_file()  # the judge is kept
    said = refused(kcm, capsys, "fit", "--config", "cifar_lt_mcm.yaml", *mcm, "--trainer.gradient_clip_val=1")
    assert "makes its own steps" in said


def test_a_sequence_is_trained_and_tested(kcm, capsys):
    kcm("fit", "--config", "forgetting.yaml", *SEQUENCE, "--model.phase.epochs=2")
    kcm("test", "--config", "runs/forgetting/0/config.yaml")
    printed, run = capsys.readouterr().out, Path("runs/forgetting/0")
    assert "all classes compete" in printed and "backward transfer" in printed
    found = json.loads((run / "results.json").read_text())
    matrix = found["own_classes"]["accuracy_after_each_group"]
    assert len(matrix) == 3 and all(0 <= value <= 1 for row in matrix for value in row)
    best = [max(row[j] for row in matrix[j:2]) for j in range(2)]
    assert found["own_classes"]["forgetting"] == pytest.approx(
        sum(b - matrix[2][j] for j, b in enumerate(best)) / 2, abs=1e-6
    )
    transfer = sum(matrix[2][j] - matrix[j][j] for j in range(2)) / 2
    assert found["own_classes"]["backward_transfer"] == pytest.approx(transfer, abs=1e-6)
    counts = {"head": 4, "med": 3, "tail": 3}
    assert set(found["final_accuracy"]) == {*counts, "overall"} and (run / "data.json").is_file()
    assert "| forgetting |" in (run / "results.md").read_text()
    events = events_in(run)
    assert unexplained(events.Tags()["scalars"]) == []
    assert events.Scalars("all_classes/group_1")[-1].value == pytest.approx(
        found["all_classes"]["accuracy_after_each_group"][2][0]
    )
    assert events.Scalars("hp_metric")[-1].value == events.Scalars("val/overall")[-1].value
    kcm("report", "runs", "--by", "variant")
    assert "| forgetting |" in capsys.readouterr().out  # the folder's name


def test_a_sequence_of_other_groups_or_another_model_is_refused(kcm, capsys):
    kcm("fit", "--config", "forgetting.yaml", *SEQUENCE, "--model.phase.epochs=1")
    said = "of other groups, epochs or another model: give its configuration"
    test = ["test", "--config", "forgetting.yaml", *SEQUENCE, "--model.phase.epochs=1"]
    assert said in refused(kcm, capsys, *test, "--model.groups=5")
    assert "in_features in --model.model" in refused(kcm, capsys, *test, "--model.model.width=16")
    assert said in refused(kcm, capsys, *test, "--model.phase.epochs=2")
    assert "has counted other test images" in refused(kcm, capsys, *test, "--trainer.limit_test_batches=1")
    for command in ("predict", "calibrate"):
        assert "needs a KCMModule" in refused(
            kcm, capsys, command, "--config", "runs/forgetting/0/config.yaml"
        )
    with pytest.raises(InputError, match=r"holds a run of SequentialTraining, not of judge"):
        load("runs/forgetting/0")


def test_schedules_that_would_miscount_a_sequence_are_refused(kcm, capsys):
    fit = ["fit", "--config", "forgetting.yaml", *SEQUENCE, "--model.phase.epochs=1"]
    assert "the groups take 3 epochs" in refused(kcm, capsys, *fit, "--trainer.max_epochs=4")
    assert "leave check_val_every_n_epoch" in refused(
        kcm, capsys, *fit, "--trainer.check_val_every_n_epoch=2"
    )
    assert "the model knows 9 classes" in refused(kcm, capsys, *fit, "--model.model.num_classes=9")
