"""KCMModule on the embedded digits with a tiny random classifier as the large model."""

import copy
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from kcm_lightning.core.confidence import Temperatures
from kcm_lightning.core.partition import Part
from kcm_lightning.core.predictions import Query
from kcm_lightning.core.routing import Route, Thresholds
from kcm_lightning.data import DigitsLT
from kcm_lightning.large import ImageClassifier
from kcm_lightning.module import KCMModule
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.small import CKAN
from kcm_lightning.small.resnet import ExpertResNet32
from kcm_lightning.utils.errors import InputError
from tests.module.outcomes import outcome_of

PHASES = {"judge_phase": Phase(2, cutmix=0.5), "student_phase": Phase(2, lr=1e-3, cutmix=0.5)}


@pytest.fixture
def make(tiny_classifier):
    def make(width: int = 8, **options) -> KCMModule:
        teacher = ImageClassifier(str(tiny_classifier(10)))
        torch.manual_seed(0)
        settings = {
            "thresholds": Thresholds(0.2, 0.2),
            "distill_thresholds": Thresholds(0.15, None, 0.12),
            **PHASES,
            **options,
        }
        return KCMModule(CKAN(10, width=width, depths=(1, 1)), teacher, **settings)

    return make


def trainer(folder: Path, epochs: int, **options) -> L.Trainer:
    last = ModelCheckpoint(
        folder, filename="last", enable_version_counter=False
    )  # as the command line has it
    return L.Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=[last, *options.pop("callbacks", [])],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
        **options,
    )


def fit(module, folder, epochs=4, data=None, resume=None, **options):
    L.seed_everything(0)
    run = trainer(folder, epochs, **options)
    run.fit(module, datamodule=data or DigitsLT(), ckpt_path=resume)
    return run


def test_resumed_after_any_epoch_is_bit_for_bit_uninterrupted(make, tmp_path):
    whole = make(cache=str(tmp_path / "cache"))
    fit(whole, tmp_path / "whole")
    expected = whole.state_dict()
    for stop in (1, 2, 3):
        folder = tmp_path / str(stop)
        fit(make(cache=str(tmp_path / "cache")), folder, epochs=stop)
        assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == stop - 1  # counted from 0
        resumed = make(cache=str(tmp_path / "cache"))
        torch.rand(stop)  # a resumed process has drawn other numbers before
        fit(resumed, folder, resume=folder / "last.ckpt")
        for name, value in resumed.state_dict().items():
            assert torch.equal(value, expected[name]), (stop, name)


def test_without_distillation_the_student_is_the_judges_copy(make, tmp_path):
    module = make(student_phase=Phase(0), thresholds=Thresholds(None, 0.0), loss="plain")
    run = fit(module, tmp_path, epochs=2)
    again = make(student_phase=Phase(0), thresholds=Thresholds(None, 0.0))
    again.setup = lambda stage: None  # weights alone
    again.load_state_dict(torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"])
    assert again.current_student is again.judge and not torch.equal(
        again.student.classifier.weight, again.judge.classifier.weight
    )
    data = run.datamodule
    batch = data.view(data.batches[data.positions["test"][:50]], augment=False)
    module.eval()
    outcome = outcome_of(module, batch, compare=False)
    assert (outcome.route == Route.STUDENT).all()
    assert torch.equal(outcome.prediction, module.judge(batch["small"]).argmax(-1))


def test_the_tlc_loss_needs_experts_and_trains_them(make, tmp_path):
    with pytest.raises(InputError, match="ExpertResNet32"):
        fit(make(loss="tlc"), tmp_path / "one")
    data = DigitsLT()
    data.setup()
    data.class_counts[9] = 0
    with pytest.raises(
        InputError, match="divides by class frequencies, and 1 classes have no training sample"
    ):
        fit(make(loss="tlc"), tmp_path / "two", data=data)
    module = make(loss="tlc", judge_phase=Phase(2, optimizer="sgd", lr=0.1), student_phase=Phase(0))
    module.judge = ExpertResNet32(10, blocks=1)
    before = copy.deepcopy(module.judge.state_dict())
    fit(module, tmp_path / "three", epochs=2)
    assert not torch.equal(module.judge.classes[2], before["classes.2"])


def test_labels_share_the_students_loss_where_they_are_known(make, tmp_path):
    """Against a loop over samples: of training images 0.3 of the loss is the label's; the pool has none."""
    module, data = (
        make(label_share=0.3, student_phase=Phase(1)),
        DigitsLT(distill_split="both", distill_balance=0.5),
    )
    fit(module, tmp_path, epochs=3, data=data, limit_val_batches=0)
    train, pool = data.positions["train"][:6], data.positions["pool"][:6]
    batch = data.view(data.batches[torch.cat([train, pool])], augment=False)
    module.log_dict, module.log = lambda *a, **o: None, lambda *a, **o: None
    found = module._student_loss(batch)
    judge, teacher, parts = module._distill_targets(batch)
    logits, prior = module.student(batch["small"]), data.class_counts.double() ** 0.5
    total = 0.0
    for row in range(12):
        target = {Part.TEACHER: teacher, Part.JUDGE: judge}.get(Part(parts[row].item()))
        taught = 0.0
        if target is not None:
            p, q = target[row, 0].double(), logits[row].double().softmax(-1)
            taught = sum((p[k] * (p[k].log() - q[k].log())).item() for k in range(10) if p[k] > 0)
        if row < 6:
            adjusted = logits[row].double() + (prior / prior.sum()).log()
            label = -adjusted.log_softmax(-1)[batch["target"][row]].item()
            taught = 0.7 * taught + 0.3 * label
        total += taught / 12
    assert found.item() == pytest.approx(total, rel=1e-4)
    with pytest.raises(InputError, match=r"--model.label_share=1.5"):
        make(label_share=1.5)
    with pytest.raises(InputError, match="several experts"):
        make(label_share=0.5, loss="tlc")


def test_phases_train_one_model_each(make, tmp_path):
    states = {}

    class Keep(L.Callback):
        def on_train_epoch_end(self, trainer, module):
            states[trainer.current_epoch] = copy.deepcopy(module.state_dict())

    fit(make(), tmp_path, callbacks=[Keep()])

    def same(a, b, who):
        return all(torch.equal(states[a][k], states[b][k]) for k in states[a] if k.startswith(f"{who}."))

    assert not same(0, 1, "judge") and same(0, 1, "student")
    assert same(1, 3, "judge") and not same(2, 3, "student")


def test_checkpoint_holds_small_models_alone_and_is_small(make, tmp_path):
    module = make(width=48)
    fit(module, tmp_path)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert {name.split(".")[0] for name in saved["state_dict"]} == {"judge", "student", "student_started"}
    own = sum(t.numel() * t.element_size() for t in module.state_dict().values())
    assert (tmp_path / "last.ckpt").stat().st_size <= 5 * own


def test_large_model_is_unchanged_by_fit_and_sees_only_routed_rows(make, tmp_path):
    module, data = make(compare=False), DigitsLT()
    seen = []

    class Watch(L.Callback):
        def on_fit_start(self, trainer, module):
            module.teacher.model.register_forward_hook(lambda m, args, out: seen.append(len(args[0])))

    run = fit(module, tmp_path, data=data, callbacks=[Watch()])
    before = ImageClassifier(module.teacher.name)
    before.load(data.class_names, torch.device("cpu"))
    for (name, old), new in zip(
        before.model.state_dict().items(), module.teacher.model.state_dict().values(), strict=True
    ):
        assert torch.equal(old, new), name
    assert not module.teacher.model.training
    assert not any(
        p is q
        for g in run.optimizers[0].param_groups
        for p in g["params"]
        for q in module.teacher.model.parameters()
    )
    batch = data.view(next(iter(data.test_dataloader())), augment=False)
    with torch.no_grad():
        module.eval()
        sure = outcome_of(module, batch, compare=False).judge_confidence
    module.thresholds = Thresholds(judge=sure.quantile(0.7).item(), student=None)
    seen.clear()
    figures = run.test(module, datamodule=data, verbose=False)[0]
    assert 0 < figures["test/lm_rate_called"] < 1
    assert sum(seen) == round(figures["test/lm_rate_called"] * 600)


def test_distillation_from_the_cache_never_runs_the_large_model(make, tmp_path):
    module, data = make(cache=str(tmp_path / "cache")), DigitsLT()
    fit(module, tmp_path / "first", data=data)
    again = make(cache=str(tmp_path / "cache"))
    calls = []

    class Watch(L.Callback):
        def on_fit_start(self, trainer, module):
            module.teacher.model.model.register_forward_hook(lambda *args: calls.append(1))

    fit(again, tmp_path / "second", data=DigitsLT(), callbacks=[Watch()])
    assert not calls
    for name, value in again.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name


@pytest.mark.parametrize("second_gate", ["student", "teacher"])
def test_inference_is_algorithm_2_one_sample_at_a_time(make, tmp_path, second_gate):
    module, data = make(second_gate=second_gate, temperatures=Temperatures(0.7, 0.6, 0.8)), DigitsLT()
    fit(module, tmp_path, data=data)
    module.eval()
    batch = data.view(next(iter(data.test_dataloader())), augment=False)
    with torch.no_grad():
        module.thresholds = Thresholds(None, None, None)
        seen = outcome_of(module, batch, compare=True)
        middles = (
            getattr(seen, f"{who}_confidence").quantile(0.5).item() for who in ("judge", "student", "teacher")
        )
        module.thresholds = gates = Thresholds(*middles)
        compared, outcome = outcome_of(module, batch, compare=True), outcome_of(module, batch, compare=False)
        for i in range(0, 300, 7):
            image, row = batch["small"][i : i + 1], batch["large"][i : i + 1]
            judge = (module.judge(image) / 0.7).softmax(-1)[0]
            student = (module.student(image) / 0.6).softmax(-1)[0]
            teacher = (module.teacher.distribution(Query(row))[0, 0].log() / 0.8).softmax(-1)
            if seen.judge_confidence[i] >= gates.judge:
                expected, answer, called = Route.JUDGE, judge, False
            elif getattr(seen, f"{second_gate}_confidence")[i] >= getattr(gates, second_gate):
                expected, answer, called = Route.STUDENT, student, second_gate == "teacher"
            else:
                expected, answer, called = Route.TEACHER, teacher, True
            for who, said in (("judge", judge), ("student", student), ("teacher", teacher)):
                assert getattr(seen, f"{who}_confidence")[i].item() == pytest.approx(
                    said.max().item(), abs=1e-4
                )
            assert outcome.route[i] == expected and outcome.called[i] == called
            assert outcome.prediction[i] == answer.argmax()
            assert outcome.confidence[i].item() == pytest.approx(answer.max().item(), abs=1e-4)
            assert compared.teacher_prediction[i] == teacher.argmax()
    assert len(outcome.route.unique()) == 3
    for field in ("route", "prediction", "called"):
        assert torch.equal(getattr(compared, field), getattr(outcome, field))


def test_nan_loss_stops_names_the_step_and_keeps_the_last_good_checkpoint(make, tmp_path):
    class Break(L.Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 1:
                with torch.no_grad():
                    module.judge.classifier.bias.fill_(float("nan"))

    data = DigitsLT()
    with pytest.raises(InputError, match=r"the loss is not finite at step \d+ \(epoch 1\).*resume"):
        fit(make(), tmp_path, data=data, callbacks=[Break()])
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["epoch"] == 0 and all(torch.isfinite(v.float()).all() for v in saved["state_dict"].values())


def test_class_counts_that_differ_are_refused_before_training(make, tmp_path, tiny_classifier):
    module = make()
    module.judge.num_classes = 7
    with pytest.raises(InputError, match="the judge knows 7 classes, the data has 10"):
        fit(module, tmp_path)
    module = make()
    module.teacher = ImageClassifier(str(tiny_classifier(7)))
    with pytest.raises(InputError, match="knows 7 classes, the data has 10"):
        fit(module, tmp_path)


def test_judge_of_another_run_is_taken_over(make, tmp_path):
    first = make()
    fit(first, tmp_path / "first", epochs=2)
    second = make(judge_ckpt=str(tmp_path / "first" / "last.ckpt"))
    assert second.total_epochs == 2
    fit(second, tmp_path / "second", epochs=2)
    assert torch.equal(second.judge.classifier.weight, first.judge.classifier.weight)
    assert not torch.equal(second.student.classifier.weight, first.judge.classifier.weight)
    with pytest.raises(InputError, match="no file"):
        fit(make(judge_ckpt="nowhere.ckpt"), tmp_path / "third")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    torch.save(first.judge.state_dict(), tmp_path / "weights.ckpt")
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "first" / "last.ckpt").read_bytes()[:5000])
    for name in ("text", "weights", "cut"):
        with pytest.raises(InputError, match="is no checkpoint of a run, or cut off"):
            fit(make(judge_ckpt=str(tmp_path / f"{name}.ckpt")), tmp_path / "third")


@pytest.mark.parametrize("off", ["judge", "teacher"])
def test_a_gate_that_is_off_teaches_nothing(make, tmp_path, off):
    thresholds = Thresholds(0.0, None, 0.0)
    setattr(thresholds, off, None)
    module = make(distill_thresholds=thresholds, partition="printed")
    logged = {}

    class Keep(L.Callback):
        def on_train_epoch_end(self, trainer, module):
            logged.update({k: v.item() for k, v in trainer.callback_metrics.items()})

    fit(module, tmp_path, callbacks=[Keep()])
    silent, speaking = ("equation_5", "equation_4") if off == "judge" else ("equation_4", "equation_5")
    assert logged[f"train/{silent}"] == 0 and logged[f"train/{speaking}"] > 0
    assert logged["partition/x3"] == 0


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-300, float("nan"), float("inf")])
def test_a_temperature_of_distillation_that_makes_nan_is_refused(make, value):
    with pytest.raises(InputError, match=r"--model.distill_temperature=.* must be"):
        make(distill_temperature=value)
