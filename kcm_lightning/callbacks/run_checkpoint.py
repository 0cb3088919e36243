"""Checkpoints of a run, whose folder may move."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint, StochasticWeightAveraging
from lightning.pytorch.plugins import TorchCheckpointIO

from kcm_lightning.callbacks.fit_progress import is_whole
from kcm_lightning.utils.checkpoint_file import read_checkpoint
from kcm_lightning.utils.errors import InputError


class RunCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, and reads none that could run a program.

    Lightning's are moved there from the system's folder of temporary files, which is a copy where that is
    another disk.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Writes it beside its place, then renames it; leaves nothing where that fails, as on a full disk."""
        partial = Path(path).with_name(f".{Path(path).name}.{os.getpid()}")
        try:
            super().save_checkpoint(checkpoint, partial, storage_options)
            os.replace(partial, path)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        finally:
            with suppress(OSError):
                partial.unlink()

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads tensors and plain values, on the CPU; a run's checkpoints hold nothing else.

        Raises:
            InputError: it holds something else, it is damaged, or it is none of Lightning's.
        """
        found = read_checkpoint(path, "--ckpt_path")
        kinds = {"pytorch-lightning_version": str, "epoch": int, "global_step": int, "loops": dict}
        if missing := [name for name, kind in kinds.items() if not isinstance(found.get(name), kind)]:
            raise InputError(
                f"--ckpt_path: {str(path)!r} is no checkpoint of a run: it holds no {', '.join(missing)}"
            )
        return found


class RunCheckpoint(ModelCheckpoint):
    """A `ModelCheckpoint` that knows its best score again where the folder has moved since.

    Lightning's forgets it then, so that the first resumed epoch, however bad, would become the best one.
    Where the best checkpoint has not moved along, as in a run that starts from another one's, it is forgotten
    all the same.
    """

    dirpath: str  # a run has its folder

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Saves at the end of an epoch; one that was cut short is trained again where the run is resumed."""
        if is_whole(trainer):
            super().on_train_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Saves the last weights again where they have become averages after the last epoch's checkpoint."""
        super().on_train_end(trainer, pl_module)
        for each in trainer.callbacks:
            averaged = (
                isinstance(each, StochasticWeightAveraging) and trainer.current_epoch - 1 == each.swa_end
            )
            if averaged and self.monitor is None and self.best_model_path:
                trainer.save_checkpoint(self.best_model_path, weights_only=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the state, its paths in the folder of now."""

        def moved(path: str) -> str:
            return path.replace(state_dict["dirpath"], self.dirpath, 1)

        if not Path(moved(state_dict["best_model_path"])).is_file():
            super().load_state_dict(state_dict)
            return
        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        kept = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        places = {name: moved(state_dict[name]) for name in paths}
        super().load_state_dict(state_dict | places | {"dirpath": self.dirpath, "best_k_models": kept})
