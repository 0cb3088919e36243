"""Groups of classes one after the other: what is trained on, what is counted, and that a resumed run is the
same run."""

import copy

import lightning as L
import pytest
import torch

from kcm_lightning.data import DigitsLT
from kcm_lightning.data.longtail import equal_groups
from kcm_lightning.module import SequentialTraining
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.small import CKAN
from kcm_lightning.utils.errors import InputError


def make(groups: int = 3, epochs: int = 2, **options) -> SequentialTraining:
    torch.manual_seed(0)
    return SequentialTraining(CKAN(10, width=8, depths=(1, 1)), Phase(epochs, lr=3e-3), groups, **options)


def trainer(folder, module, callbacks=(), **options) -> L.Trainer:
    L.seed_everything(0)
    settings = {
        "max_epochs": module.total_epochs,
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
    } | options
    return L.Trainer(
        default_root_dir=folder,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
        **settings,
    )


class Watch(L.Callback):
    """Keeps the classes of each epoch's batches, and the model as it was when each group had been learned."""

    def __init__(self):
        self.seen, self.models = {}, []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.seen.setdefault(trainer.current_epoch, set()).update(batch["target"].tolist())

    def on_train_epoch_end(self, trainer, module):
        if (trainer.current_epoch + 1) % module.phase.epochs == 0:
            self.models.append(copy.deepcopy(module.model).eval())


def test_each_group_alone_is_trained_on_and_all_are_tested_after_each(tmp_path):
    module, watch, data = make(), Watch(), DigitsLT()
    trainer(tmp_path, module, [watch]).fit(module, datamodule=data)
    group_of = equal_groups(data.class_counts, 3).tolist()
    for epoch, classes in watch.seen.items():
        assert {group_of[c] for c in classes} == {epoch // 2}
    assert set().union(*watch.seen.values()) == set(range(10)) and len(watch.models) == 3
    batch = data.view(data.batches[data.positions["test"]], augment=False)
    for after, model in enumerate(watch.models):
        with torch.no_grad():
            logits = model(batch["small"])
        for group in range(3):
            own = [c for c in range(10) if group_of[c] == group]
            rows = [i for i, t in enumerate(batch["target"].tolist()) if t in own]
            right = [int(logits[i].argmax()) == int(batch["target"][i]) for i in rows]
            among_own = [own[int(logits[i, own].argmax())] == int(batch["target"][i]) for i in rows]
            for kind, flags in (("all_classes", right), ("own_classes", among_own)):
                found = module.scores[kind]["accuracy"].compute()[after, group]
                assert found == pytest.approx(
                    sum(flags) / len(flags), abs=0.011
                )  # a near tie may fall either way


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    whole = make()
    trainer(tmp_path, whole).fit(whole, datamodule=DigitsLT())
    first = make()
    half = trainer(tmp_path, first, max_epochs=3)
    half.fit(first, datamodule=DigitsLT())
    half.save_checkpoint(tmp_path / "half.ckpt")
    second = make()
    trainer(tmp_path, second).fit(second, datamodule=DigitsLT(), ckpt_path=tmp_path / "half.ckpt")
    for kind in ("all_classes", "own_classes"):
        assert torch.equal(
            second.scores[kind]["accuracy"].compute(), whole.scores[kind]["accuracy"].compute()
        )
    for one, other in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_run_that_has_not_learned_all_groups_is_not_tested(tmp_path):
    module = make()
    half = trainer(tmp_path, module, max_epochs=2)
    half.fit(module, datamodule=DigitsLT())
    with pytest.raises(InputError, match="has learned 1 of 3 groups: go on with fit --ckpt_path last"):
        half.test(module, datamodule=DigitsLT(), verbose=False)


def test_the_last_group_is_tested_on_what_the_first_was(tmp_path):
    class Fewer(DigitsLT):
        def read(self) -> None:
            super().read()
            self.positions["test"] = self.positions["test"][:-1]

    module = make(epochs=1)
    trainer(tmp_path, module).fit(module, datamodule=DigitsLT())
    counts = module.scores["own_classes"]["accuracy"].total.clone()
    trainer(tmp_path, module).test(module, datamodule=DigitsLT(), verbose=False)
    assert torch.equal(module.scores["own_classes"]["accuracy"].total, counts)
    with pytest.raises(InputError, match="has counted other test images"):
        trainer(tmp_path, module).test(module, datamodule=Fewer(), verbose=False)


def test_bad_options(tmp_path):
    with pytest.raises(InputError, match="groups=1 must be at least 2"):
        make(groups=1)
    with pytest.raises(InputError, match="there are only 10 classes"):
        trainer(tmp_path, make(groups=11)).fit(make(groups=11), datamodule=DigitsLT())
    with pytest.raises(InputError, match="cutmix is not used"):
        SequentialTraining(CKAN(10, width=8, depths=(1, 1)), Phase(1, cutmix=0.5))
    wrong = SequentialTraining(CKAN(7, width=8, depths=(1, 1)), Phase(1))
    with pytest.raises(InputError, match=r"set --model\.model\.num_classes=10"):
        trainer(tmp_path, wrong).fit(wrong, datamodule=DigitsLT())
