"""What `fit` says at its end: what was made, where, what was not done, and which command comes next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger

from kcm_lightning.callbacks import FitProgress, not_done
from kcm_lightning.module import (
    FineTuneImageClassifier,
    FineTuneTextClassifier,
    KCMModule,
    SequentialTraining,
)
from kcm_lightning.results.tensorboard import tensorboard_command
from kcm_lightning.utils.checkpoint_file import read_checkpoint
from kcm_lightning.utils.console import PROGRAM, say
from kcm_lightning.utils.errors import InputError


def print_end_of_fit(trainer: Any, module: Any, *, folder: Path, resumed: bool) -> None:
    """Prints the block.

    Args:
        trainer: the Trainer, when all is done.
        module: what was trained.
        folder: the run folder.
        resumed: whether the run was begun by another command.

    Raises:
        InputError: nothing was trained.
    """
    undone = not_done(folder)
    checkpoints = {path.name: path for path in (folder / "checkpoints").glob("*.ckpt")}
    notes = undone + _notes_of_checkpoints(checkpoints, module)
    if not any(isinstance(each, FitProgress) and each.trained for each in trainer.callbacks):
        if not resumed or undone:
            raise InputError("nothing was trained: look at --trainer.max_epochs, max_steps and max_time")
        notes.append("all epochs were done before: nothing was left to train")
    if isinstance(module, SequentialTraining) and trainer.current_epoch < module.total_epochs:
        done = f"{trainer.current_epoch} of {module.total_epochs} epochs are done"
        notes.append(f"{done}: go on with fit --ckpt_path last")
    for each in trainer.callbacks:
        if isinstance(each, StochasticWeightAveraging) and trainer.current_epoch > each.swa_end:
            notes.append("the student's averages are in last.ckpt: test with --ckpt_path last")
    for note in notes:
        say(f"note: {note}")
    say(f"run: {folder}")
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            say(f"TensorBoard: {tensorboard_command(Path(logger.log_dir))}")
    for command in _next(module, folder, checkpoints):
        say(f"next: {PROGRAM} {command}")


def _notes_of_checkpoints(checkpoints: Mapping[str, Path], module: Any) -> list[str]:
    """What there is to know before the run is tested."""
    if not checkpoints:
        return ["no checkpoint was kept, so that this run cannot be tested"]
    if "best.ckpt" not in checkpoints:
        return ["without validation no checkpoint is the best: test with --ckpt_path last"]
    if isinstance(module, KCMModule) and module.student_started:
        weights = read_checkpoint(checkpoints["best.ckpt"], "best.ckpt")["state_dict"]
        if not weights["student_started"]:
            why = "since the student's was not validated"
            return [f"best.ckpt is of the judge's phase, {why}: test with --ckpt_path last"]
    return []


def _next(module: Any, folder: Path, checkpoints: Mapping[str, Path]) -> list[str]:
    """The commands that usually follow; none where the run has no checkpoint."""
    if not checkpoints or isinstance(module, FineTuneImageClassifier | FineTuneTextClassifier):
        return []  # a fine-tuned model's module says where the model is
    last = "" if "best.ckpt" in checkpoints else " --ckpt_path last"
    config = f"--config {folder / 'config.yaml'}{last}"
    if isinstance(module, KCMModule):
        return [f"calibrate {config} --target lm_rate=0.6", f"test {config}"]
    return [f"test {config}"]
