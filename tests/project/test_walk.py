"""The walk of a batch in CONTRIBUTING.md is the one that a test batch of the main job takes."""

import re
import sys
from pathlib import Path

import lightning as L
import pytest

from kcm_lightning.core.routing import Thresholds
from kcm_lightning.data import CIFAR100LT
from kcm_lightning.data.images import ImageBatches
from kcm_lightning.large import CLIP
from kcm_lightning.module import KCMModule
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.small import CKAN
from tests.conftest import accept_any_md5

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "kcm_lightning"
# not followed: what a network computes inside, and how the cache knows inputs and models by their content
INSIDE = ("small", "kan", "large/input_digests.py", "large/answer_table.py", "utils/hugging_face.py")


class Watch:
    """Files of ours that a batch goes through, and the functions between it and the large model."""

    def __init__(self):
        self.files: list[str] = []
        self.to_the_large_model: list[str] = []
        self.under_way = False

    def __call__(self, frame, event, argument):
        if event != "call" or "kcm_lightning" not in frame.f_code.co_filename:
            return
        if frame.f_code is ImageBatches.__getitem__.__code__:
            self.under_way = True
        if not self.under_way:
            return
        if (file := self.ours(frame)) is not None:
            self.files.append(file)
        if frame.f_code is CLIP.distribution.__wrapped__.__code__:
            while frame is not None:
                if self.ours(frame):
                    self.to_the_large_model.insert(0, frame.f_code.co_qualname)
                frame = frame.f_back

    def ours(self, frame) -> str | None:
        path = Path(frame.f_code.co_filename)
        if PACKAGE not in path.parents or str(path.relative_to(PACKAGE)).startswith(INSIDE):
            return None
        return str(path.relative_to(ROOT))


@pytest.fixture
def walk(tiny_cifar, tiny_clip, tmp_path, monkeypatch) -> Watch:
    accept_any_md5(monkeypatch)
    data = CIFAR100LT(str(tiny_cifar), eval_batch_size=100)
    judge = CKAN(100, width=8, depths=(1, 1))
    module = KCMModule(
        judge,
        CLIP(str(tiny_clip)),
        judge_phase=Phase(1),
        student_phase=Phase(1),
        thresholds=Thresholds(0.012, 0.012),
        cache=str(tmp_path / "cache"),
    )
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        limit_test_batches=1,
        use_distributed_sampler=False,
    )
    watch, step = Watch(), module.test_step

    def last_step(batch, batch_idx):  # what follows the step is no longer the batch's way
        try:
            return step(batch, batch_idx)
        finally:
            watch.under_way = False
            sys.setprofile(None)

    module.test_step = last_step
    sys.setprofile(watch)
    try:
        trainer.test(module, datamodule=data, verbose=False)
    finally:
        sys.setprofile(None)
    return watch


def test_the_walk_is_that_of_contributing_and_short(walk):
    text = (ROOT / "CONTRIBUTING.md").read_text().split("## The walk of a batch")[1].split("\n## ")[0]
    written = re.findall(r"`(kcm_lightning/\w+/\w+\.py)`", text)
    assert list(dict.fromkeys(written)) == list(dict.fromkeys(walk.files))
    assert len(set(walk.files)) <= 12
    names = walk.to_the_large_model
    assert len(names) <= 6 and names[0] == "Answering.test_step" and names[-1] == "CLIP.distribution"
    assert " -> ".join(f"`{name}`" for name in names) in " ".join(text.split())
