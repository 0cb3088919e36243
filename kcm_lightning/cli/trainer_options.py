"""Options of the Trainer that a command cannot keep to, said before any work."""

from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule
from lightning.pytorch.callbacks import BatchSizeFinder, EarlyStopping, LearningRateFinder

from kcm_lightning.module import KCMModule, SequentialTraining
from kcm_lightning.module.two_phases import TwoPhases
from kcm_lightning.utils.errors import InputError

_PRECISIONS = {None, 32, "32", "32-true", 16, "16", "16-mixed", "bf16", "bf16-mixed"}
# what a command reads; none of it would be a result of nothing
_READS = {
    "fit": ("limit_train_batches",),
    "validate": ("limit_val_batches",),
    "calibrate": ("limit_val_batches",),
    "test": ("limit_test_batches",),
    "predict": ("limit_predict_batches",),
}


def check_trainer(command: str, given: Mapping[str, Any], module: LightningModule) -> None:
    """Refuses options of the Trainer that the module cannot keep to.

    Args:
        command: "fit", "validate", "test", "predict" or "calibrate".
        given: options of the Trainer.
        module: what the command is about.

    Raises:
        InputError: there is one; the message says what to do instead.
    """
    if given["precision"] not in _PRECISIONS:
        raise InputError(
            f"--trainer.precision={given['precision']} is not supported: set 32-true, bf16-mixed or 16-mixed"
        )
    for name in _READS[command]:
        if given[name] == 0:
            raise InputError(f"--trainer.{name}=0 leaves {command} nothing to do: set it above 0, or null")
    if command == "fit":
        _check_fit(given, module)
    elif any(isinstance(each, BatchSizeFinder) for each in callbacks_of(given)):
        raise InputError("BatchSizeFinder is not supported: set --data.eval_batch_size")
    if command == "predict" and not isinstance(module, KCMModule):
        raise InputError("predict needs a KCMModule: this configuration trains one model alone")


def _check_fit(given: Mapping[str, Any], module: LightningModule) -> None:
    manual = not module.automatic_optimization
    if manual and (given["gradient_clip_val"] or given["accumulate_grad_batches"] > 1):
        raise InputError(
            "the module makes its own steps: set --trainer.gradient_clip_val=null and "
            "accumulate_grad_batches=1"
        )
    if given["val_check_interval"] not in (None, 1):
        raise InputError("checkpoints are of the end of an epoch: leave --trainer.val_check_interval alone")
    if given["overfit_batches"]:
        raise InputError(
            "--trainer.overfit_batches is not supported, since the data come in whole batches: set "
            "--trainer.limit_train_batches and limit_val_batches"
        )
    by_epoch = isinstance(module, TwoPhases | SequentialTraining)
    if by_epoch and given["reload_dataloaders_every_n_epochs"] != 1:
        raise InputError(
            "each phase has samples of its own: leave --trainer.reload_dataloaders_every_n_epochs at 1"
        )
    wanted = given["max_epochs"]
    if isinstance(module, TwoPhases) and wanted is not None and wanted > module.total_epochs:
        raise InputError(
            f"--trainer.max_epochs={wanted}: judge and student take {module.total_epochs}; set "
            "--model.judge_phase.epochs and --model.student_phase.epochs"
        )
    own = callbacks_of(given)
    if isinstance(module, SequentialTraining) and any(isinstance(each, EarlyStopping) for each in own):
        raise InputError("each group takes as many epochs: leave out EarlyStopping, set --model.phase.epochs")
    if any(isinstance(each, BatchSizeFinder) for each in own):
        raise InputError(
            "BatchSizeFinder would train with another batch size than config.yaml says: leave it out, set "
            "--data.batch_size"
        )
    if any(isinstance(each, LearningRateFinder) for each in own):
        raise InputError(
            "LearningRateFinder sets one learning rate, and each phase has its own: set "
            "--model.judge_phase.lr and --model.student_phase.lr"
        )


def callbacks_of(given: Mapping[str, Any]) -> list[Callback]:
    """The user's callbacks, of which there may be none, one or a list."""
    callbacks = given["callbacks"]
    if callbacks is None:
        return []
    return [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
