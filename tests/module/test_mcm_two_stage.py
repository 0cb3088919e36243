"""Two-stage distillation against a naive loop over samples with lists, as Data Shunt's code goes."""

import copy

import lightning as L
import pytest
import torch
import torch.nn.functional as F

from kcm_lightning.core.predictions import Query
from kcm_lightning.core.pruning import Pruning
from kcm_lightning.core.routing import Route, Thresholds
from kcm_lightning.data import DigitsLT
from kcm_lightning.large import ImageClassifier
from kcm_lightning.module import KCMTwoStage
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.small import CKAN
from kcm_lightning.utils.errors import InputError
from tests.module.outcomes import outcome_of


def make(teacher: str, **options) -> KCMTwoStage:
    torch.manual_seed(0)
    settings = {
        "judge_phase": Phase(1),
        "student_phase": Phase(1, lr=1e-3, weight_decay=0.0),
        "distill_thresholds": Thresholds(0.14, None, 0.11),
        "partition": "printed",
        "direction": "hard",
        "buffer": 16,
    }
    return KCMTwoStage(
        judge=CKAN(10, width=8, depths=(1, 1)), teacher=ImageClassifier(teacher), **{**settings, **options}
    )


def fit(module, folder, epochs: int = 2, callbacks=(), resume=None):
    L.seed_everything(0)
    trainer = L.Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(module, datamodule=DigitsLT(distill_split="pool"), ckpt_path=resume)
    return trainer


class Watch(L.Callback):
    """Keeps the batches of the student's epoch and what was done with them."""

    def __init__(self):
        self.batches, self.before, self.steps = [], None, []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if module.distilling:
            if self.before is None:
                self.before = copy.deepcopy(module.student)
                step = module._step
                module._step = lambda loss: (self.steps.append(loss.item()), step(loss))
            self.batches.append({name: batch[name].clone() for name in ("small", "large", "index")})


@pytest.mark.parametrize("direction", ["hard", "forward"])
def test_steps_are_those_of_the_loop_over_samples(tiny_classifier, tmp_path, direction):
    module, watch = make(str(tiny_classifier(10)), direction=direction), Watch()
    fit(module, tmp_path, callbacks=[watch])
    student = watch.before.train()
    optimizer = torch.optim.AdamW(student.parameters(), weight_decay=0.0)
    large, sure, losses = [], [], []
    module.judge.eval()
    for number, batch in enumerate(watch.batches):
        optimizer.param_groups[0]["lr"] = module.student_phase.lr_after(number / len(watch.batches))
        for row in range(len(batch["index"])):
            said = module._recorded[batch["index"][row : row + 1]][0]
            taught = module.teacher.distribution(Query(batch["large"][row : row + 1]))[0, 0]
            if said.max() >= 0.14:
                if len(sure) < 16:
                    sure.append((batch["small"][row], said))
            elif taught.max() >= 0.11:
                large.append((batch["small"][row], taught))
            if len(large) == 16:
                for kept in (large, sure):
                    if kept:
                        images, targets = torch.stack([x for x, _ in kept]), torch.stack([t for _, t in kept])
                        log = student(images).log_softmax(-1)
                        if direction == "hard":
                            loss = F.nll_loss(log, targets.argmax(-1))
                        else:
                            loss = (targets * (targets.log() - log)).sum(-1).mean()
                        losses.append(loss.item())
                        optimizer.zero_grad()
                        loss.backward()
                        optimizer.step()
                large, sure = [], []
    assert len(losses) >= 4 and watch.steps == pytest.approx(losses, rel=1e-3, abs=1e-4)
    for one, other in zip(module.student.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-2)


def test_bad_options(tiny_classifier):
    with pytest.raises(InputError, match="buffer=0"):
        make(str(tiny_classifier(10)), buffer=0)
    with pytest.raises(InputError, match="cutmix mixes samples"):
        make(str(tiny_classifier(10)), student_phase=Phase(1, cutmix=0.5))


@pytest.mark.parametrize("how", ["mask", "zero"])
def test_pruned_classes_are_left_to_others(tiny_classifier, tmp_path, how):
    module = make(str(tiny_classifier(10)), pruning=Pruning([0, 1, 2], how), thresholds=Thresholds(None, 0.0))
    fit(module, tmp_path)
    module.eval()
    data = DigitsLT(distill_split="pool")
    data.setup()
    batch = data.view(data.batches[data.positions["test"][:40]], augment=False)
    outcome = outcome_of(module, batch, compare=False)
    logits = module.student(batch["small"]).float()
    for row in range(40):
        own = logits[row].tolist()
        own[:3] = [float("-inf") if how == "mask" else 0.0] * 3
        assert outcome.route[row] == Route.STUDENT and outcome.prediction[row] == max(
            range(10), key=own.__getitem__
        )
    if how == "mask":
        assert (outcome.prediction > 2).all()
    with pytest.raises(InputError, match="give some of the classes 0 to 9"):
        fit(make(str(tiny_classifier(10)), pruning=Pruning([10])), tmp_path / "bad")


def test_judge_and_student_may_have_different_optimizers_and_a_resumed_run_is_the_same(
    tiny_classifier, tmp_path
):
    options = {
        "judge_phase": Phase(2, lr=0.1, optimizer="sgd", lr_drops=[0.5]),
        "student_phase": Phase(2, lr=1e-4, weight_decay=0.0, warmup=0.0, lr_drops=[]),
    }
    whole = make(str(tiny_classifier(10)), **options)
    trainer = fit(whole, tmp_path, epochs=4)
    assert [type(o).__name__ for o in trainer.optimizers] == ["SGD", "AdamW"]
    assert {g["lr"] for g in trainer.optimizers[1].param_groups} == {1e-4}
    assert {round(g["lr"], 6) for g in trainer.optimizers[0].param_groups} == {0.001}
    first = make(str(tiny_classifier(10)), **options)
    fit(first, tmp_path, epochs=3).save_checkpoint(tmp_path / "three.ckpt")
    second = make(str(tiny_classifier(10)), **options)
    fit(second, tmp_path, epochs=4, resume=tmp_path / "three.ckpt")
    for one, other in zip(second.student.parameters(), whole.student.parameters(), strict=True):
        assert torch.equal(one, other)
