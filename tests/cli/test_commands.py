"""The command line as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

import kcm_lightning
from kcm_lightning.cli import main
from kcm_lightning.module import KCMModule
from tests.run_commands import ROOT, kcm, kcm_process, results_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_classifier) -> tuple[Path, list[str]]:
    """A folder with one short quickstart run, and the options it was made with."""
    folder = tmp_path_factory.mktemp("runs")
    options = [
        "--model.judge_phase.epochs=2",
        "--model.student_phase.epochs=1",
        "--trainer.log_every_n_steps=1",
    ]
    options += [f"--model.teacher.name={tiny_classifier(10)}", f"--model.cache={folder / 'cache'}"]
    kcm_process(folder, "fit", "--config", "quickstart.yaml", *options, "--model.thresholds.judge=0.3")
    return folder, options


def test_fit_leaves_a_run(trained):
    folder, _ = trained
    run = folder / "runs" / "quickstart" / "0"
    assert {"config.yaml", "data.json", "checkpoints"} <= {p.name for p in run.iterdir()}
    assert any(p.name.startswith("events.out.tfevents") for p in run.iterdir())
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["model"]["init_args"]["thresholds"]["judge"] == 0.3
    assert len(json.loads((run / "data.json").read_text())["splits"]["test"]) == 600


def test_tensorboard_has_what_is_promised_and_no_more(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained[0] / "runs" / "quickstart" / "0"))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert {
        "train/judge_loss",
        "train/equation_4",
        "train/equation_5",
        "partition/x1",
        "partition/x2",
        "partition/x3",
    } <= scalars
    assert {
        "val/lm_rate_called",
        "val/kcm_head",
        "val/kcm_tail",
        "val/student_overall",
        "val/judge_overall",
    } <= scalars
    assert set(events.Tags()["images"]) == {"confidence", "reliability"}
    assert (
        any("hparams" in tag for tag in events.summary_metadata)
        or "_hparams_/experiment" in events.summary_metadata
    )
    assert len(scalars) <= 30


def test_test_writes_figures_that_follow_from_its_samples(trained):
    folder, _ = trained
    run = folder / "runs" / "quickstart" / "0"
    printed = kcm(folder, "test", "--config", str(run / "config.yaml"))
    assert "LM rate" in printed and "Oracle router" in printed
    results = json.loads((run / "results.json").read_text())
    samples = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert len(samples) == results["samples"] == 600
    assert results["accuracy"]["kcm"]["overall"] == pytest.approx(
        sum(s["predicted"] == s["target"] for s in samples) / 600
    )
    assert results["lm_rate"]["called"] == pytest.approx(sum(s["route"] == "teacher" for s in samples) / 600)
    for s in samples:
        assert s["prediction"] == s[f"{s['route']}_prediction"]
        assert (s["judge_confidence"] >= 0.3) == (s["route"] == "judge")
    assert (
        results["config"]["data"]["class_path"].endswith("DigitsLT")
        and results["data"]["splits"]["test"]["samples"] == 600
    )
    assert "| head |" in (run / "results.md").read_text()
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_threshold_on_the_command_line_beats_the_checkpoint(trained):
    folder, _ = trained
    run = folder / "runs" / "quickstart" / "0"
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    for gate, rate in (("0.0", 0.0), ("null", 1.0)):
        printed = kcm(
            folder,
            "test",
            "--config",
            str(run / "config.yaml"),
            "--ckpt_path",
            checkpoint,
            f"--model.thresholds.judge={gate}",
            "--model.thresholds.student=null",
        )
        results = json.loads((results_in(folder, printed) / "results.json").read_text())
        assert results["lm_rate"]["called"] == rate


def test_two_processes_give_the_figures_of_one(trained):
    folder, _ = trained
    run = folder / "runs" / "quickstart" / "0"
    command = [
        "test",
        "--config",
        str(run / "config.yaml"),
        "--data.eval_batch_size=70",
        "--model.thresholds.judge=0.2",
    ]
    figures = []
    for run_it, options in (
        (kcm, ["--trainer.devices=1"]),
        (kcm_process, ["--trainer.devices=2", "--trainer.strategy=ddp"]),
    ):
        found = results_in(folder, run_it(folder, *command, *options))
        results = json.loads((found / "results.json").read_text())
        figures.append({name: results[name] for name in ("samples", "lm_rate", "routes", "accuracy")})
        assert len((found / "predictions.jsonl").read_text().splitlines()) == 600
    assert figures[0] == figures[1]


def test_fit_in_two_processes(trained, tmp_path):
    """Both phases; the processes share a run folder, end with the same weights, and the run can be tested and
    resumed."""
    _, options = trained
    command = [
        "fit",
        "--config",
        "quickstart.yaml",
        *options,
        "--trainer.devices=2",
        f"--model.cache={tmp_path / 'cache'}",
    ]
    kcm_process(tmp_path, *command, "--trainer.max_epochs=2")
    kcm_process(tmp_path, *command, "--ckpt_path", "last")
    (run,) = (tmp_path / "runs" / "quickstart").iterdir()
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["epoch"] == 2 and state["state_dict"]["student_started"]
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())
    kcm(tmp_path, "test", "--config", str(run / "config.yaml"), "--trainer.devices=1")
    found = json.loads((run / "results.json").read_text())
    assert found["samples"] == 600


def test_calibrate_then_test_and_load(trained):
    folder, _ = trained
    run = folder / "runs" / "quickstart" / "0"
    printed = kcm(folder, "calibrate", "--config", str(run / "config.yaml"), "--target", "lm_rate=0.5")
    assert "expected LM rate" in printed and "95 % interval" in printed
    report = json.loads((run / "calibrated.json").read_text())
    assert report["samples"] == 150 and report["temperatures"]["judge"] > 0
    configs = ["--config", str(run / "config.yaml"), "--config", str(run / "calibrated.yaml")]
    tested = results_in(folder, kcm(folder, "test", *configs))
    results = json.loads((tested / "results.json").read_text())
    assert results["thresholds"] == report["thresholds"]
    expected = report["expected_on_unseen_data"]["lm_rate"]
    assert expected["low"] - 0.1 < results["lm_rate"]["called"] < expected["high"] + 0.1

    loaded = kcm_lightning.load(run, calibrated=run / "calibrated.yaml")
    from kcm_lightning.data import DigitsLT

    data = DigitsLT()
    data.setup()
    answers = loaded.answer(data.images[data.positions["test"]])
    lines = (tested / "predictions.jsonl").read_text().splitlines()
    saved = {sample["index"]: sample for sample in map(json.loads, lines)}
    for i, index in enumerate(data.positions["test"].tolist()):
        assert answers.route[i].name.lower() == saved[index]["route"]
        assert answers.prediction[i].item() == saved[index]["prediction"]
        assert answers.label[i] == saved[index]["predicted"]


def test_predict_and_validate(trained):
    folder, _ = trained
    run = folder / "runs" / "quickstart" / "0"
    kcm(folder, "predict", "--config", str(run / "config.yaml"))
    assert len((run / "predict.jsonl").read_text().splitlines()) == 600
    validate = ["validate", "--config", str(run / "config.yaml")]
    assert "kcm_overall" in kcm(folder, *validate)
    # the student is asked about what the judge passes on, which says nothing of it; in batches of one some
    # are wholly the judge's
    told = kcm(folder, *validate, "--model.compare=false", "--data.eval_batch_size=1")
    assert "kcm_overall" in told and "student_overall" not in told


def test_results_say_how_the_run_was_fitted(tiny_classifier, tmp_path):
    given = ["--config", "quickstart.yaml", "--model.judge_phase.epochs=1", "--model.student_phase.epochs=0"]
    given += [f"--model.teacher.name={tiny_classifier(10)}", "--trainer.enable_progress_bar=false"]
    kcm(tmp_path, "fit", *given, "--seed_everything=5", "--model.loss=plain", "--model.thresholds.judge=0.1")
    kcm(tmp_path, "test", *given, "--data.eval_batch_size=100")
    run = tmp_path / "runs" / "quickstart" / "0"
    found = json.loads((run / "results.json").read_text())
    assert found["seed"] == 5 and found["thresholds"]["judge"] == 0.98
    fitted = {"seed_everything": 5, "model.loss": "plain", "data.eval_batch_size": 300}
    assert found["fitted_with"] == fitted
    printed = kcm(tmp_path, "test", "--config", str(run / "config.yaml"), "--model.thresholds.judge=0.3")
    tested = results_in(tmp_path, printed)
    assert "fitted_with" not in json.loads((tested / "results.json").read_text())


def test_second_fit_takes_a_new_folder_and_resume_goes_on(trained):
    folder, options = trained
    command = ["fit", "--config", "quickstart.yaml", *options]
    kcm(folder, *command, "--trainer.max_epochs=2")
    first, second = (folder / "runs" / "quickstart" / n / "checkpoints" / "last.ckpt" for n in "01")
    assert (
        torch.load(first, weights_only=True)["epoch"] == 2
        and torch.load(second, weights_only=True)["epoch"] == 1
    )
    kcm(folder, *command, "--ckpt_path", "last")
    assert torch.load(second, weights_only=True)["epoch"] == 2
    assert not (folder / "runs" / "quickstart" / "2").exists()


def test_a_run_that_is_not_validated_every_epoch_is_resumed_after_its_last_one(
    tiny_classifier, tmp_path, monkeypatch
):
    """Killed in the student's second epoch, after one without validation."""
    start = KCMModule.on_train_batch_start

    def stopped(self, batch: dict, batch_idx: int) -> None:
        if self.current_epoch == 3 and batch_idx == 1:
            raise RuntimeError("power cut")
        start(self, batch, batch_idx)

    command = ["fit", "--config", "quickstart.yaml", f"--model.teacher.name={tiny_classifier(10)}"]
    command += [
        "--model.judge_phase.epochs=2",
        "--model.student_phase.epochs=2",
        "--trainer.check_val_every_n_epoch=2",
    ]
    last = tmp_path / "runs" / "quickstart" / "0" / "checkpoints" / "last.ckpt"
    with monkeypatch.context() as broken, pytest.raises(RuntimeError, match="power cut"):
        broken.setattr(KCMModule, "on_train_batch_start", stopped)
        kcm(tmp_path, *command)
    assert torch.load(last, weights_only=True)["epoch"] == 2
    kcm(tmp_path, *command, "--ckpt_path", "last")
    assert torch.load(last, weights_only=True)["epoch"] == 3


def test_a_resumed_run_needs_the_judge_of_another_one_no_more(tiny_classifier, tmp_path):
    command = ["fit", "--config", "quickstart.yaml", f"--model.teacher.name={tiny_classifier(10)}"]
    kcm(
        tmp_path, *command, "--model.judge_phase.epochs=1", "--model.student_phase.epochs=0", "--run", "first"
    )
    judge = tmp_path / "first" / "checkpoints" / "best.ckpt"
    command += [f"--model.judge_ckpt={judge}", "--model.student_phase.epochs=2", "--run", "second"]
    kcm(tmp_path, *command, "--trainer.max_epochs=1")
    judge.unlink()
    kcm(tmp_path, *command, "--ckpt_path", "last")
    assert torch.load(tmp_path / "second" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1


def test_a_terminated_fit_is_no_success_and_is_resumed(tiny_classifier, tmp_path):
    words = [
        "fit",
        "--config",
        "quickstart.yaml",
        "--model.student_phase.epochs=0",
        f"--model.teacher.name={tiny_classifier(10)}",
    ]
    command = [sys.executable, "-m", "kcm_lightning", *words, "--model.judge_phase.epochs=1000"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    checkpoints = tmp_path / "runs" / "quickstart" / "0" / "checkpoints"
    while not (checkpoints / "last.ckpt").is_file() and process.poll() is None:
        time.sleep(0.1)
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert {path.name for path in checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    done = torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] + 1
    kcm(tmp_path, *words, f"--model.judge_phase.epochs={done + 1}", "--ckpt_path=last")
    assert torch.load(checkpoints / "last.ckpt", weights_only=True)["epoch"] == done


def test_last_checkpoint_is_of_the_last_epoch_even_if_it_was_no_better(
    tiny_classifier, tmp_path, monkeypatch
):
    scored = KCMModule._scores

    def worse_and_worse(self, split: str) -> dict:
        return scored(self, split) | {"selection": -float(self.current_epoch)}

    monkeypatch.setattr(KCMModule, "_scores", worse_and_worse)
    short = [
        "--model.judge_phase.epochs=1",
        "--model.student_phase.epochs=2",
        f"--model.teacher.name={tiny_classifier(10)}",
    ]
    kcm(tmp_path, "fit", "--config", "quickstart.yaml", *short)
    best, last = (
        tmp_path / "runs" / "quickstart" / "0" / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")
    )
    assert (
        torch.load(last, weights_only=True)["epoch"] == 2
        and torch.load(best, weights_only=True)["epoch"] == 0
    )


def test_bad_input_is_one_clear_line(tmp_path, tiny_classifier, monkeypatch, capsys):
    """Before anything long starts: status 2, and nothing on the error stream but the line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kcm_lightning"])
    (tmp_path / "broken.yaml").write_text("model: [unclosed\ntrainer: {")
    (tmp_path / "file").write_text("")
    quickstart = ["fit", "--config", "quickstart.yaml"]
    teacher = f"--model.teacher.name={tiny_classifier(10)}"
    cases = [
        ("outside [0, 1]", [*quickstart, teacher, "--model.thresholds.judge=1.5"]),
        ("did you mean cifar_lt", ["fit", "--config", "cifar_tl.yaml"]),
        ("broken.yaml is no YAML", ["fit", "--config", "broken.yaml"]),
        ("there is no option --model.nonsense", [*quickstart, "--model.nonsense=3"]),
        ("--not_an_option", [*quickstart, "--not_an_option=3"]),
        ("give its folder", [*quickstart, "--model.teacher.name=nobody/nothing"]),
        ("the judge knows 9 classes, the data has 10", [*quickstart, teacher, "--model.judge.num_classes=9"]),
        ("is missing", ["fit", "--config", "cifar_lt_cpu.yaml", "--data.root", str(tmp_path)]),
        ("no checkpoint best.ckpt", ["test", "--config", "quickstart.yaml", teacher]),
        ("cannot be written", [*quickstart, teacher, "--run", str(tmp_path / "file" / "run")]),
        ("batch_size=0", [*quickstart, teacher, "--data.batch_size=0"]),
        ("of the end of an epoch", [*quickstart, teacher, "--trainer.val_check_interval=0.5"]),
    ]
    for reason, words in cases:
        with pytest.raises(SystemExit) as stop:
            main(words)
        said = [
            line
            for line in capsys.readouterr().err.splitlines()
            if line.startswith("error:") or "Traceback" in line
        ]
        assert stop.value.code == 2 and len(said) == 1 and reason in said[0], (words, said)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_nan_loss_is_one_clear_line_too(tmp_path, tiny_classifier, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kcm_lightning"])
    teacher = f"--model.teacher.name={tiny_classifier(10)}"
    with pytest.raises(SystemExit):
        main(["fit", "--config", "quickstart.yaml", teacher, "--model.judge_phase.lr=1e30"])
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert "not finite at step" in said and "nothing is lost yet" in said


def test_bad_input_in_a_process_of_its_own(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "kcm_lightning", "fit", "--config", "cifar_tl.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (
        run.returncode == 2
        and len(run.stderr.splitlines()) == 1
        and run.stderr.startswith("error: there is no config")
    )


def test_print_config_and_help(tmp_path):
    assert "judge_phase" in kcm(tmp_path, "fit", "--config", "quickstart.yaml", "--print_config")
    assert "--config" in kcm(tmp_path, "fit", "--help")
