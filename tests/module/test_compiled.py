"""A compiled `fit` compiles each model once and learns what an eager one learns."""

import shutil

import lightning as L
import pytest
import torch

from kcm_lightning.core.routing import Thresholds
from kcm_lightning.data import DigitsLT
from kcm_lightning.large import ImageClassifier
from kcm_lightning.module import KCMModule
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.small import CKAN


class Seen(L.Callback):
    """Losses of all steps, and how many graphs were compiled by the end of each epoch."""

    def __init__(self):
        self.losses: list[float] = []
        self.graphs: list[int] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.losses.append(outputs["loss"].item())

    def on_train_epoch_end(self, trainer, module):  # after the epoch's validation
        self.graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def fitted(folder, teacher: str, compile: bool) -> Seen:
    torch.manual_seed(0)
    module = KCMModule(
        CKAN(10, width=8, depths=(1, 1)),
        ImageClassifier(teacher),
        judge_phase=Phase(3),
        student_phase=Phase(3),
        thresholds=Thresholds(0.2, 0.2),
        distill_thresholds=Thresholds(0.0, None, 0.0),
        compile=compile,
    )
    seen = Seen()
    L.seed_everything(0)
    trainer = L.Trainer(
        default_root_dir=folder,
        max_epochs=6,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        callbacks=[seen],
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
    )
    trainer.fit(
        module, datamodule=DigitsLT(eval_batch_size=100)
    )  # 150 to validate: two batches of 75; 600 to test
    return seen


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.slow
def test_nothing_is_compiled_after_a_models_first_epoch_and_losses_are_the_eager_ones(
    tmp_path, tiny_classifier
):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    teacher = str(tiny_classifier(10))
    compiled, eager = (fitted(tmp_path, teacher, compile) for compile in (True, False))
    judge, student = compiled.graphs[:3], compiled.graphs[3:]
    assert judge[0] > 0 and judge[0] == judge[2], compiled.graphs
    assert student[0] == student[2], compiled.graphs
    first_epoch = len(eager.losses) // 6
    torch.testing.assert_close(
        torch.tensor(compiled.losses[:first_epoch]),
        torch.tensor(eager.losses[:first_epoch]),
        rtol=2e-2,
        atol=2e-2,
    )
