"""A large model of one's own: resumed where it was stopped, and there only when its training is over."""

import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kcm_lightning.module.finetune import FineTune
from tests.run_commands import kcm


def test_a_stopped_fine_tuning_leaves_no_model_and_is_resumed(tmp_path, monkeypatch):
    command = [
        "fit",
        "--config",
        "quickstart_large.yaml",
        "--model.training.epochs=3",
        "--trainer.enable_progress_bar=false",
    ]
    start = FineTune.on_train_epoch_start

    def worse_and_worse(self) -> None:
        self.accuracy.reset()
        self.log("selection", -float(self.current_epoch))

    def stopped(self) -> None:
        if self.current_epoch == 1:
            raise RuntimeError("power cut")
        start(self)

    monkeypatch.setattr(FineTune, "on_validation_epoch_end", worse_and_worse)
    output = tmp_path / "runs" / "quickstart_large_model"
    with monkeypatch.context() as broken, pytest.raises(RuntimeError, match="power cut"):
        broken.setattr(FineTune, "on_train_epoch_start", stopped)
        kcm(tmp_path, *command)
    assert not output.exists()
    assert "is in runs/quickstart_large_model" in kcm(tmp_path, *command, "--ckpt_path", "last")
    (run,) = (tmp_path / "runs" / "quickstart_large").iterdir()
    checkpoints = {
        name: torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last")
    }
    assert checkpoints["best"]["epoch"] == 0 and checkpoints["last"]["epoch"] == 2
    written = load_file(output / "model.safetensors")
    for name, value in written.items():
        assert torch.equal(value, checkpoints["best"]["state_dict"][f"model.{name}"]), name
    with pytest.raises(AssertionError, match="exists already"):
        kcm(tmp_path, *command)
    assert [path.name for path in Path(output.parent).iterdir() if path.name.startswith(".")] == []


def test_a_full_disk_is_one_line_and_leaves_no_half_of_a_model(tmp_path, monkeypatch):
    write = FineTune._write

    def without_room(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
        try:
            write(self)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(FineTune, "_write", without_room)
    command = [
        "fit",
        "--config",
        "quickstart_large.yaml",
        "--model.training.epochs=1",
        "--trainer.max_epochs=1",
    ]
    with pytest.raises(AssertionError, match=r"error: --model\.output: .* cannot be written .*best\.ckpt"):
        kcm(tmp_path, *command)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["quickstart_large"]
