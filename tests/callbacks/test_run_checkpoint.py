"""The best checkpoint of a run stays the best one, also where the run folder has moved."""

import shutil
import warnings

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from kcm_lightning.callbacks import RunCheckpoint, RunCheckpointIO
from kcm_lightning.utils.errors import InputError


class Scored(L.LightningModule):
    """Has a score by epoch, and nothing to learn."""

    def __init__(self, scores: list[float]):
        super().__init__()
        self.layer, self.scores = torch.nn.Linear(1, 1), scores

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()

    def validation_step(self, batch, batch_idx):
        self.log("selection", self.scores[self.current_epoch])


def fit(folder, scores, ckpt_path=None):
    options = {"dirpath": folder / "checkpoints", "enable_version_counter": False}
    callbacks = [
        RunCheckpoint(filename="best", monitor="selection", mode="max", **options),
        RunCheckpoint(filename="last", **options),
    ]
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "plugins": [RunCheckpointIO()],
    }
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=len(scores), callbacks=callbacks, default_root_dir=folder, **quiet
    )
    data = DataLoader(torch.ones(2, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Scored(scores), data, data, ckpt_path=ckpt_path)
    return torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["epoch"]


def test_a_worse_epoch_after_the_folder_has_moved_is_not_the_best(tmp_path):
    assert fit(tmp_path / "a", [0.9]) == 0
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert fit(tmp_path / "b", [0.9, 0.1], tmp_path / "b" / "checkpoints" / "last.ckpt") == 0
    assert fit(tmp_path / "b", [0.9, 0.1, 0.95], tmp_path / "b" / "checkpoints" / "last.ckpt") == 2
    # the first epoch of a run that starts from another one's is its best so far
    assert fit(tmp_path / "c", [0.9, 0.1, 0.95, 0.2], tmp_path / "b" / "checkpoints" / "last.ckpt") == 3
    assert fit(tmp_path / "c", [0.9, 0.1, 0.95, 0.2, 0.1], tmp_path / "c" / "checkpoints" / "best.ckpt") == 3


def test_a_checkpoint_that_is_not_written_whole_leaves_the_one_before(tmp_path, monkeypatch):
    plugin, path = RunCheckpointIO(), tmp_path / "last.ckpt"
    plugin.save_checkpoint({"epoch": 1}, path)

    def full(src, dst):
        with open(dst, "wb") as file:
            file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(shutil, "move", full)  # how Lightning puts a checkpoint in its place
    with pytest.raises(OSError, match="no space left"):
        plugin.save_checkpoint({"epoch": 2}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 1}


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"state_dict": {}, "epoch": "1", "loops": {}}, [1]])
def test_what_is_no_checkpoint_of_a_run_is_said_in_a_line(tmp_path, content):
    torch.save(content, tmp_path / "some.ckpt")
    with pytest.raises(InputError, match=r"--ckpt_path: '.*some.ckpt' is no checkpoint of a run"):
        fit(tmp_path, [0.1], ckpt_path=tmp_path / "some.ckpt")
