"""Progress on the console, as a person reads it: in a log and on a terminal."""

import io
import re
from types import SimpleNamespace

import lightning as L
import pytest
import torch

from kcm_lightning.callbacks import ConsoleProgress
from kcm_lightning.data import DigitsLT
from kcm_lightning.large import ImageClassifier
from kcm_lightning.module import KCMModule
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.small import CKAN


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(tiny_classifier, tmp_path, monkeypatch):
    """Trains and tests with the console of one kind; returns what it shows."""

    def run(console: io.StringIO) -> str:
        monkeypatch.setattr("sys.stderr", console)
        torch.manual_seed(0)
        module = KCMModule(
            CKAN(10, width=4, depths=(1, 1)),
            ImageClassifier(str(tiny_classifier(10))),
            judge_phase=Phase(3),
            student_phase=Phase(2),
            cache=str(tmp_path / "cache"),
        )
        trainer = L.Trainer(
            max_epochs=5,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[ConsoleProgress()],
            reload_dataloaders_every_n_epochs=1,
        )
        trainer.fit(module, datamodule=DigitsLT())
        trainer.test(module, datamodule=DigitsLT(eval_batch_size=200), verbose=False)
        return console.getvalue()

    return run


def test_a_log_has_a_line_where_a_phase_begins_and_ends(run):
    lines = [line for line in run(io.StringIO()).splitlines() if re.match(r"(judge|student) ", line)]
    assert [line.split(":")[0] for line in lines] == ["judge 1/3", "judge 3/3", "student 1/2", "student 2/2"]
    assert re.fullmatch(r"judge 3/3: loss \d\.\d+, accuracy \d+\.\d\d %, 0:00 left", lines[1]), lines
    wanted = r"student 2/2: loss \d\.\d+, KCM accuracy \d+\.\d\d %, LM rate \d+\.\d %, 0:00 left"
    assert re.fullmatch(wanted, lines[3]), lines


def test_a_terminal_has_one_line_that_changes(run):
    shown = run(Terminal())
    last = [line.split("\r")[-1].strip() for line in shown.split("\n")]
    assert next(line for line in last if line.startswith(("judge", "student"))).startswith("judge 3/3: loss")
    assert any(re.fullmatch(r"test: batch 3/3, LM rate so far \d+\.\d %, 0:00 left", line) for line in last)
    assert "\rjudge 1/3: loss" in shown  # it changed on its way


def test_nothing_is_shown_by_other_processes(monkeypatch):
    console = io.StringIO()
    monkeypatch.setattr("sys.stderr", console)
    progress = ConsoleProgress()
    progress.disable()
    trainer = SimpleNamespace(current_epoch=0, max_epochs=1, callback_metrics={}, num_training_batches=1)
    progress.on_train_batch_start(trainer, SimpleNamespace(), None, 0)
    progress.on_train_epoch_end(trainer, SimpleNamespace())
    assert console.getvalue() == ""
    progress.enable()
    progress.on_train_epoch_end(trainer, SimpleNamespace())
    assert console.getvalue() == "epoch 1/1: 0:00 left\n"
