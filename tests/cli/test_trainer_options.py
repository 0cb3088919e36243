"""Options of the Trainer: what works leaves a whole run, what cannot says so before any work."""

import json

import pytest
import yaml

from tests.run_commands import kcm

pytestmark = pytest.mark.slow
CALLBACKS = "lightning.pytorch.callbacks"


@pytest.fixture(scope="module")
def quickstart(quickstart_with):
    return quickstart_with(
        "--model.compile=false",
        "--model.judge_phase.epochs=2",
        "--model.student_phase.epochs=1",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--trainer.precision=64-true"], "set 32-true, bf16-mixed or 16-mixed"),
        (["--trainer.precision=bf16-true"], "set 32-true, bf16-mixed or 16-mixed"),
        (["--trainer.limit_train_batches=0"], "leaves fit nothing to do"),
        (["--trainer.reload_dataloaders_every_n_epochs=0"], "leave --trainer.reload_dataloaders_every_n"),
        (["--trainer.max_epochs=0"], "nothing was trained"),
        ([f"--trainer.callbacks={CALLBACKS}.LearningRateFinder"], "set --model.judge_phase.lr"),
        ([f"--trainer.callbacks={CALLBACKS}.BatchSizeFinder"], "set --data.batch_size"),
        (["--trainer.max_epochs=9"], "judge and student take 3"),
        (["--seed_everything=-1"], "is to be from 0 to 4294967295"),
        (
            [f"--trainer.callbacks={CALLBACKS}.ModelCheckpoint", "--trainer.enable_checkpointing=false"],
            "enable_checkpointing",
        ),
    ],
)
def test_what_cannot_be_is_one_line_and_takes_no_number(folder, quickstart, options, says):
    before = set((folder / "runs").rglob("*"))
    with pytest.raises(AssertionError, match=says) as error:
        kcm(folder, "fit", *quickstart, *options)
    assert "Traceback" not in str(error.value)
    assert set((folder / "runs").rglob("*")) - before <= {folder / "runs" / "quickstart"}


def test_no_figure_is_of_nothing(folder, quickstart):
    run = folder / "read"
    kcm(folder, "fit", *quickstart, f"--run={run}")
    reads = {"test": "test", "calibrate": "val", "validate": "val"}
    for command, split in reads.items():
        with pytest.raises(AssertionError, match=f"limit_{split}_batches=0 leaves {command} nothing to do"):
            kcm(folder, command, *quickstart, f"--run={run}", f"--trainer.limit_{split}_batches=0")
    assert not (run / "results.json").exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("csv", ["--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=logs"]),
        ("none", ["--trainer.logger=false"]),
        (
            "one",
            [f"--trainer.callbacks={CALLBACKS}.EarlyStopping", "--trainer.callbacks.monitor=val/kcm_tail"],
        ),
        (
            "own",
            [
                f"--trainer.callbacks+={CALLBACKS}.ModelCheckpoint",
                "--trainer.callbacks.monitor=val/student_overall",
                f"--trainer.callbacks+={CALLBACKS}.RichModelSummary",
            ],
        ),
    ],
)
def test_a_run_is_complete_whatever_loggers_and_callbacks(folder, quickstart, name, options):
    run = folder / name
    printed = kcm(folder, "fit", *quickstart, f"--run={run}", *options)
    assert {"config.yaml", "data.json", "fit.json", "checkpoints"} <= {path.name for path in run.iterdir()}
    assert {"best.ckpt", "last.ckpt"} <= {path.name for path in (run / "checkpoints").iterdir()}
    assert yaml.safe_load((run / "config.yaml").read_text())["ckpt_path"] is None
    assert ("TensorBoard" in printed) == (name in ("one", "own"))
    kcm(folder, "test", f"--config={run / 'config.yaml'}")
    assert json.loads((run / "results.json").read_text())["samples"] == 600


def test_a_short_fit_says_what_it_has_not_done_and_so_does_its_test(folder, quickstart):
    run = f"--run={folder / 'short'}"
    said = "the student was not distilled: its figures are the judge's"
    assert said in kcm(folder, "fit", *quickstart, run, "--trainer.max_epochs=1")
    assert said in kcm(folder, "test", *quickstart, run)
    assert said in json.loads((folder / "short" / "results.json").read_text())["not_done"]
    assert said in (folder / "short" / "results.md").read_text()
    kcm(folder, "fit", *quickstart, run, "--ckpt_path=last")
    assert said not in kcm(folder, "test", *quickstart, run)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("enable_checkpointing=false", "no checkpoint was kept"),
        ("limit_val_batches=0", "test with --ckpt_path last"),
    ],
)
def test_a_run_without_a_best_checkpoint_says_so(folder, quickstart, option, says):
    assert says in kcm(folder, "fit", *quickstart, f"--run={folder / option[:5]}", f"--trainer.{option}")


def test_a_second_test_keeps_the_first_one_s_results(folder, quickstart):
    run = folder / "tested"
    kcm(folder, "fit", *quickstart, f"--run={run}")
    kcm(folder, "test", *quickstart, f"--run={run}")
    first = (run / "results.json").read_bytes()
    kcm(folder, "test", *quickstart, f"--run={run}", "--model.thresholds.judge=0.11")
    kcm(folder, "test", *quickstart, f"--run={run}", "--trainer.limit_test_batches=1")
    assert (run / "results.json").read_bytes() == first
    found = {path.parent.name[:9] for path in run.glob("tests/*/results.json")}
    assert found == {"judge-0.1", "limit_tes"}


def test_a_resumed_run_is_found_whatever_the_order_of_options(folder, quickstart):
    run = folder / "resumed"
    kcm(folder, "fit", *quickstart, f"--run={run}", "--trainer.max_epochs=2")
    words = ["--ckpt_path=last", "--trainer.max_epochs=3", f"--config={run / 'config.yaml'}"]
    assert f"run: {run}" in kcm(folder, "fit", *words)
    assert json.loads((run / "fit.json").read_text())["student"]["done"] == 1


def test_a_best_checkpoint_of_the_judges_phase_is_said(folder, quickstart):
    run = folder / "unvalidated"
    printed = kcm(folder, "fit", *quickstart, f"--run={run}", "--trainer.check_val_every_n_epoch=2")
    assert "best.ckpt is of the judge's phase" in printed
    tested = ["test", f"--config={run / 'config.yaml'}"]
    said = "best.ckpt is of the judge's phase: the student's figures are the judge's"
    assert said in kcm(folder, *tested)
    assert said in json.loads((run / "results.json").read_text())["not_done"]
    assert "of the judge's phase" not in kcm(folder, *tested, "--ckpt_path=last")


def test_a_resumed_run_that_has_nothing_left_says_so(folder, quickstart):
    run = folder / "whole"
    kcm(folder, "fit", *quickstart, f"--run={run}", "--trainer.max_steps=20")
    assert json.loads((run / "fit.json").read_text())["judge"]["done"] == 1  # of 16 steps
    again = ["fit", f"--config={run / 'config.yaml'}", "--ckpt_path=last"]
    with pytest.raises(AssertionError, match="nothing was trained"):
        kcm(folder, *again, "--trainer.max_steps=0")
    kcm(folder, *again, "--trainer.max_steps=-1")
    assert json.loads((run / "fit.json").read_text())["student"]["done"] == 1
    assert "nothing was left to train" in kcm(folder, *again, "--trainer.max_steps=-1")
