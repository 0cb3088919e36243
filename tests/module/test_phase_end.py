"""Early stopping ends a phase, not the run."""

import json
from datetime import timedelta

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer

from kcm_lightning.callbacks import FitProgress, not_done
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.data import DigitsLT
from kcm_lightning.large import ImageClassifier
from kcm_lightning.module import KCMModule
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.small import CKAN
from kcm_lightning.utils.errors import InputError


@pytest.fixture
def make(tiny_classifier, tmp_path):
    def make(judge: int = 4, student: int = 3) -> KCMModule:
        torch.manual_seed(0)
        return KCMModule(
            CKAN(10, width=4, depths=(1, 1)),
            ImageClassifier(str(tiny_classifier(10))),
            judge_phase=Phase(judge),
            student_phase=Phase(student),
            distill_thresholds=Thresholds(0.15, None, 0.12),
            cache=str(tmp_path / "cache"),
        )

    return make


def fit(module, folder, *, stopping=None, epochs=None, resume=None, more=()) -> L.Trainer:
    """A run that leaves `fit.json` and its last checkpoint."""
    folder.mkdir(exist_ok=True)
    last = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    # no accuracy is better by more than 1, so that the second epoch is one too many
    stoppings = [EarlyStopping(stopping, mode="max", patience=1, min_delta=1.0)] if stopping else []
    L.seed_everything(0)
    trainer = L.Trainer(
        max_epochs=epochs or module.total_epochs,
        accelerator="cpu",
        logger=False,
        callbacks=[last, *stoppings, *more, FitProgress(folder)],
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(module, datamodule=DigitsLT(), ckpt_path=resume)
    return trainer


def epochs_of(folder) -> tuple[int, int]:
    phases = json.loads((folder / "fit.json").read_text())
    return phases["judge"]["done"], phases["student"]["done"]


@pytest.mark.parametrize(
    ("metric", "epochs"),
    [("val/student_overall", (2, 2)), ("val/judge_overall", (2, 3)), ("val/kcm_overall", (4, 2))],
)
def test_it_ends_the_phase_that_its_metric_is_of(make, tmp_path, metric, epochs):
    module = make()
    fit(module, tmp_path / "run", stopping=metric)
    assert epochs_of(tmp_path / "run") == epochs
    assert module.student_started
    assert not_done(tmp_path / "run") == []
    judge, student = module.judge.state_dict(), module.student.state_dict()
    assert any(not torch.equal(judge[name], student[name]) for name in judge)  # the student was distilled


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(make, tmp_path):
    whole = make()
    fit(whole, tmp_path / "whole", stopping="val/student_overall")
    for epoch in (0, 1, 2):
        checkpoint = tmp_path / "whole" / f"epoch={epoch}.ckpt"
        resumed = make()
        fit(resumed, tmp_path / "again", stopping="val/student_overall", resume=checkpoint)
        assert epochs_of(tmp_path / "again") == (2, 2), epoch
        for name, value in resumed.state_dict().items():
            assert torch.equal(value, whole.state_dict()[name]), (epoch, name)


def test_what_a_shorter_run_has_not_done_is_known(make, tmp_path):
    fit(make(), tmp_path / "one", epochs=1)
    assert not_done(tmp_path / "one") == [
        "the judge was trained for 1 of 4 epochs",
        "the student was not distilled: its figures are the judge's",
    ]
    fit(make(), tmp_path / "two", epochs=5)
    assert not_done(tmp_path / "two") == ["the student was distilled for 1 of 3 epochs"]


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("val/nope", "there is no metric 'val/nope'; there are .*val/judge_overall"),
        ("val/kcm_nope", "there is no metric 'val/kcm_nope'"),
        ("train/judge_los", "there is no metric 'train/judge_los'"),
        ("train/equation_6", "there is no metric 'train/equation_6'; there are .*train/equation_4"),
    ],
)
@pytest.mark.parametrize("kind", [EarlyStopping, ModelCheckpoint])
def test_a_metric_that_is_never_there_is_one_line(make, tmp_path, metric, said, kind):
    with pytest.raises(InputError, match=said):
        fit(make(1, 1), tmp_path / "run", more=[kind(monitor=metric)])


def test_checkpoints_of_the_students_metrics_wait_for_its_phase(make, tmp_path):
    own = ModelCheckpoint(tmp_path / "own", "{epoch}", monitor="val/kcm_overall", mode="max", save_top_k=-1)
    fit(make(2, 2), tmp_path / "run", more=[own])
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == ["epoch=2.ckpt", "epoch=3.ckpt"]


def test_a_loss_stops_its_own_phase_alone(make, tmp_path):
    for metric, epochs in (("train/judge_loss", (2, 3)), ("train/student_loss", (4, 2))):
        fit(make(), tmp_path / metric.replace("/", "_"), stopping=metric)
        assert epochs_of(tmp_path / metric.replace("/", "_")) == epochs, metric


def test_steps_that_end_within_an_epoch_do_not_make_it_whole(make, tmp_path):
    module = make(2, 1)
    trainer = fit(module, tmp_path / "cut", more=[Steps(12)])
    assert trainer.global_step == 12 < 2 * trainer.num_training_batches
    assert epochs_of(tmp_path / "cut") == (1, 0)


def test_a_limit_on_batches_is_said(tmp_path):
    phase = {"done": 1, "planned": 1, "stopped_early": False}
    cut = {"judge": phase, "student": phase, "batches_per_epoch": {"trained": 1, "of": 16}}
    (tmp_path / "fit.json").write_text(json.dumps(cut))
    assert not_done(tmp_path) == ["an epoch took 1 of 16 batches (--trainer.limit_train_batches)"]


def test_a_judge_that_nobody_trains_is_said(make, tmp_path):
    fit(make(0, 1), tmp_path / "run")
    assert not_done(tmp_path / "run") == ["the judge was not trained: its weights are random"]


class Steps(L.Callback):
    """Stops after some steps, as `max_steps` does."""

    def __init__(self, steps: int):
        self.steps = steps

    def on_train_batch_end(self, trainer, *args, **kwargs):
        trainer.should_stop = trainer.global_step >= self.steps


class TimeIsUp(Timer):
    """A timer that runs out in the second epoch, in which early stopping stops too."""

    def __init__(self):
        super().__init__(timedelta(hours=1))

    def time_remaining(self, stage=None):
        return 0.0

    def on_train_batch_end(self, trainer, *args, **kwargs):
        trainer.should_stop = trainer.current_epoch == 1


def test_time_that_is_up_ends_the_run_and_is_said(make, tmp_path):
    fit(make(), tmp_path / "run", stopping="val/student_overall", more=[TimeIsUp()])
    assert epochs_of(tmp_path / "run") == (1, 0)  # the second was cut short
    assert "the student was not distilled: its figures are the judge's" in not_done(tmp_path / "run")


@pytest.mark.parametrize("damage", ["{", "[]", '{"judge": 1}', '{"judge": ' + "[" * 100_000])
def test_without_a_readable_fit_json_nothing_is_said(tmp_path, damage):
    assert not_done(tmp_path) == []
    (tmp_path / "fit.json").write_text(damage)
    assert not_done(tmp_path) == []
