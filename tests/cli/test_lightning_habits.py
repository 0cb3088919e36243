"""What people are used to from Lightning: each habit by what it leaves, weights, files and numbers."""

import csv
import json

import lightning as L
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import StochasticWeightAveraging
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from kcm_lightning.callbacks import RunCheckpoint
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.data import DigitsLT
from kcm_lightning.large import ImageClassifier
from kcm_lightning.module import KCMModule
from kcm_lightning.module.optimizers import Phase
from tests.run_commands import kcm

pytestmark = pytest.mark.slow
CALLBACKS, LOGGERS = "lightning.pytorch.callbacks", "lightning.pytorch.loggers"
AVERAGING = [f"--trainer.callbacks={CALLBACKS}.StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01"]


@pytest.fixture(scope="module")
def quickstart(quickstart_with):
    return quickstart_with(
        "--model.judge.init_args.width=4",
        "--model.judge_phase.epochs=1",
        "--model.student_phase.epochs=2",
    )


@pytest.fixture(scope="module")
def plain(folder, quickstart):
    """A run without any habit."""
    kcm(folder, "fit", *quickstart, f"--run={folder / 'plain'}")
    return folder / "plain"


def checkpoint(run, name: str = "last") -> dict:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def weights(run, name: str = "last") -> dict:
    return checkpoint(run, name)["state_dict"]


def assert_same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def column(path, name: str) -> list[float]:
    with path.open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_switches_for_looking_and_for_faults_change_no_weight(folder, quickstart, plain):
    options = [
        f"--trainer.default_root_dir={folder / 'elsewhere'}",
        "--trainer.profiler=lightning.pytorch.profilers.SimpleProfiler",
        "--trainer.profiler.filename=profile",
        f"--trainer.callbacks={CALLBACKS}.RichProgressBar",
        "--trainer.enable_model_summary=true",
        "--trainer.deterministic=true",
        "--trainer.detect_anomaly=true",
        "--trainer.inference_mode=false",
        "--trainer.num_sanity_val_steps=0",
    ]
    printed = kcm(folder, "fit", *quickstart, *options)
    run = folder / "elsewhere" / "quickstart" / "0"
    assert f"run: {run}" in printed
    assert_same(weights(run), weights(plain))
    assert "training_step" in (run / "fit-profile.txt").read_text()
    assert "Trainable params" in printed
    assert "Epoch 2" in printed and "judge 1/1" not in printed  # the user's own bar instead of ours


def test_each_logger_of_a_list_gets_options_and_figures(folder, quickstart, plain):
    """With three batches to a step, and a rate that every batch shows."""
    options = [
        f"--trainer.logger+={LOGGERS}.TensorBoardLogger",
        f"--trainer.logger.save_dir={folder / 'tb'}",
        f"--trainer.logger+={LOGGERS}.CSVLogger",
        f"--trainer.logger.save_dir={folder / 'csv'}",
        f"--trainer.callbacks+={CALLBACKS}.LearningRateMonitor",
        "--trainer.callbacks.logging_interval=step",
        f"--trainer.callbacks+={CALLBACKS}.ModelCheckpoint",
        f"--trainer.callbacks.dirpath={folder / 'own'}",
        "--trainer.callbacks.filename={epoch}",
        "--trainer.callbacks.monitor=train/equation_4",
        "--trainer.callbacks.save_top_k=1",
        "--trainer.log_every_n_steps=1",
        "--trainer.accumulate_grad_batches=3",
    ]
    run = folder / "several"
    kcm(folder, "fit", *quickstart, f"--run={run}", *options)
    places = [folder / kind / "lightning_logs" / "version_0" for kind in ("tb", "csv")]
    for place in places:
        assert (
            yaml.safe_load((place / "hparams.yaml").read_text())["model"]["init_args"]["judge_phase"][
                "epochs"
            ]
            == 1
        )
    events = EventAccumulator(str(places[0]))
    events.Reload()
    metrics = places[1] / "metrics.csv"
    for name in ("train/judge_loss", "val/kcm_overall", "val/lm_rate_called", "lr-AdamW/student_weights"):
        assert [point.value for point in events.Scalars(name)] == pytest.approx(column(metrics, name)), name
    # the rate of each batch, though a step is made of three
    judge, student = (column(metrics, f"lr-AdamW/{name}") for name in ("judge_weights", "student_biases"))
    phases = Phase(1), Phase(2)
    assert judge[:16] == pytest.approx([phases[0].lr_after(batch / 16) for batch in range(16)])
    assert student[16:] == pytest.approx([phases[1].lr_after(batch / 26) for batch in range(52)])
    # 16 and 26 batches: five and eight steps of three, and one of what is left
    assert checkpoint(run)["global_step"] == 6 + 9 + 9
    losses = column(metrics, "train/equation_4")  # of each step
    assert len(losses) == 9 + 9
    best = 1 if losses[8] < losses[17] else 2
    assert [path.name for path in (folder / "own").iterdir()] == [f"epoch={best}.ckpt"]


def test_averages_are_the_student_s_and_are_in_the_last_checkpoint(folder, quickstart):
    """An average of the weights that each epoch from `swa_epoch_start` on begins with; the judge stays."""
    run, own = folder / "averaged", folder / "each"
    options = [
        *AVERAGING,
        "--trainer.callbacks.swa_epoch_start=3",
        f"--trainer.callbacks+={CALLBACKS}.ModelCheckpoint",
        f"--trainer.callbacks.dirpath={own}",
        "--trainer.callbacks.filename={epoch}",
        "--trainer.callbacks.save_top_k=-1",
        "--model.student_phase.epochs=3",
    ]
    printed = kcm(folder, "fit", *quickstart, f"--run={run}", *options)
    assert "averages are in last.ckpt: test with --ckpt_path last" in printed
    found = weights(run)
    epochs = [torch.load(own / f"epoch={i}.ckpt", weights_only=True)["state_dict"] for i in range(4)]
    trained = [name for name in found if name.startswith("student.") and "running" not in name]
    for name in trained:
        expected = (epochs[1][name].double() + epochs[2][name].double()) / 2  # those of the third and fourth
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(found[name].double(), expected, atol=1e-6), name
    for name in (name for name in found if name.startswith("judge.")):
        assert torch.equal(found[name], epochs[0][name]), name
    statistics = [name for name in found if name.startswith("student.") and "running_mean" in name]
    assert all(not torch.equal(found[name], epochs[3][name]) for name in statistics)  # those of the averages
    assert json.loads((run / "fit.json").read_text())["student"]["done"] == 3
    kcm(folder, "test", f"--config={run / 'config.yaml'}", "--ckpt_path=last")
    assert json.loads((run / "results.json").read_text())["samples"] == 600


def test_averages_are_kept_without_batch_normalization_too(tiny_classifier, tmp_path):
    """Lightning makes them of the weights when the last checkpoint is written already."""
    torch.manual_seed(0)
    module = KCMModule(
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10)),
        ImageClassifier(str(tiny_classifier(10))),
        judge_phase=Phase(1),
        student_phase=Phase(2),
        distill_thresholds=Thresholds(0.15, None, 0.12),
    )
    last = RunCheckpoint(
        dirpath=tmp_path, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
    )
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        callbacks=[Started(), StochasticWeightAveraging(0.01, swa_epoch_start=3), last],
        enable_progress_bar=False,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(module, datamodule=DigitsLT())
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(saved["student.1.weight"], trainer.callbacks[0].student)
    assert_same(saved, module.state_dict())


class Started(L.Callback):
    """Keeps the student's weights as the last epoch begins with them."""

    def on_train_epoch_start(self, trainer, module):
        self.student = module.student[1].weight.detach().clone()


class Seen(L.Callback):
    """Keeps the sample ids of each epoch, in training and in validation."""

    def __init__(self):
        self.trained, self.validated = [], []

    def on_train_epoch_start(self, *args):
        self.trained.append([])
        self.validated.append([])

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.trained[-1] += batch["index"].tolist()

    def on_validation_batch_end(self, trainer, module, outputs, batch, *args):
        self.validated[-1] += batch["index"].tolist()


def test_overfit_batches_trains_and_validates_on_the_same_batches(folder, quickstart, monkeypatch):
    seen = Seen()
    for name in ("on_train_epoch_start", "on_train_batch_end", "on_validation_batch_end"):
        hook = getattr(KCMModule, name)

        def both(self, *args, hook=hook, name=name):
            getattr(seen, name)(None, self, *args)
            return hook(self, *args)

        monkeypatch.setattr(KCMModule, name, both)
    run = folder / "overfit"
    options = [
        "--trainer.overfit_batches=2",
        "--model.judge_phase.epochs=2",
        "--trainer.num_sanity_val_steps=0",
    ]
    printed = kcm(folder, "fit", *quickstart, f"--run={run}", *options)
    said = "an epoch took 2 of 26 batches (--trainer.overfit_batches, which validates on them too)"
    assert said in printed
    judge, again, student, last = seen.trained
    assert judge == again and student == last and len(judge) == len(student) == 32 and judge != student
    assert seen.validated == seen.trained
    kcm(folder, "test", f"--config={run / 'config.yaml'}")
    assert json.loads((run / "results.json").read_text())["samples"] == 600  # all of the test split


def test_time_that_is_up_leaves_a_run_that_goes_on(folder, quickstart):
    run = folder / "timed"
    many = ["--model.judge_phase.epochs=500", "--trainer.max_time=00:00:00:02"]
    printed = kcm(folder, "fit", *quickstart, f"--run={run}", *many)
    done = json.loads((run / "fit.json").read_text())["judge"]["done"]
    assert 0 < done < 500
    assert f"the judge was trained for {done} of 500 epochs" in printed
    assert checkpoint(run)["epoch"] == done - 1


def test_a_try_leaves_nothing(folder, quickstart):
    kcm(folder, "fit", *quickstart, f"--run={folder / 'try'}", "--trainer.fast_dev_run=true")
    assert not (folder / "try").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([*AVERAGING, "--trainer.callbacks.swa_epoch_start=2"], "is epoch 2 .* set it from 3 to 3"),
        ([*AVERAGING, "--trainer.callbacks.swa_epoch_start=4"], "set it from 3 to 3"),
        (AVERAGING, "swa_epoch_start=0.8 is epoch 2 of judge and student together"),
        ([*AVERAGING, "--model.student_phase.epochs=1"], "with more --model.student_phase.epochs"),
        (
            [
                *AVERAGING,
                f"--trainer.callbacks+={CALLBACKS}.EarlyStopping",
                "--trainer.callbacks.monitor=val/kcm_overall",
            ],
            "leave out EarlyStopping",
        ),
        ([f"--trainer.callbacks={CALLBACKS}.EMAWeightAveraging"], "use StochasticWeightAveraging"),
        (
            [f"--trainer.callbacks={CALLBACKS}.LearningRateFinder"],
            "compare rates with `sweep`, and set --model.j",
        ),
    ],
)
def test_what_cannot_work_says_why_and_what_to_do_before_any_work(folder, quickstart, options, says):
    with pytest.raises(AssertionError, match=says) as error:
        kcm(folder, "fit", *quickstart, f"--run={folder / 'refused'}", *options)
    assert "Traceback" not in str(error.value)
    assert not (folder / "refused").exists()


@pytest.mark.parametrize(
    ("callback", "says"),
    [
        (["LearningRateFinder"], "set --model.training.lr"),
        (["StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01"], "leave the callback out"),
    ],
)
def test_training_of_one_model_says_its_own_options(folder, callback, says):
    options = [f"--trainer.callbacks={CALLBACKS}.{callback[0]}", *callback[1:], f"--run={folder / 'large'}"]
    with pytest.raises(AssertionError, match=says):
        kcm(folder, "fit", "--config=quickstart_large.yaml", f"--model.output={folder / 'made'}", *options)


def test_a_module_that_makes_its_own_steps_accumulates_nothing(folder, quickstart):
    two_stage = ["--model=kcm_lightning.module.KCMTwoStage", *quickstart[1:]]
    scheduler = f"--trainer.callbacks={CALLBACKS}.GradientAccumulationScheduler"
    with pytest.raises(AssertionError, match="leave out GradientAccumulationScheduler"):
        kcm(folder, "fit", quickstart[0], *two_stage, scheduler, "--trainer.callbacks.scheduling={0: 2}")
