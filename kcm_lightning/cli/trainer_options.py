"""Options of the Trainer that a command cannot keep to, said before any work."""

from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateFinder,
    StochasticWeightAveraging,
    WeightAveraging,
)

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


def overfitting(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that stand for `overfit_batches`, where it is set; the data keep to the same batches."""
    batches = given["overfit_batches"]
    limits = ("limit_train_batches", "limit_val_batches")
    return dict.fromkeys(limits, batches) | {"overfit_batches": 0.0} if batches else {}


def _check_fit(given: Mapping[str, Any], module: LightningModule) -> None:
    own = callbacks_of(given)
    accumulates = given["accumulate_grad_batches"] > 1 or _has(own, GradientAccumulationScheduler)
    if not module.automatic_optimization and (given["gradient_clip_val"] or accumulates):
        raise InputError(
            "the module makes its own steps: set --trainer.gradient_clip_val=null and "
            "accumulate_grad_batches=1, and leave out GradientAccumulationScheduler"
        )
    if given["val_check_interval"] not in (None, 1):
        raise InputError("checkpoints are of the end of an epoch: leave --trainer.val_check_interval alone")
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
    if isinstance(module, SequentialTraining) and _has(own, EarlyStopping):
        raise InputError("each group takes as many epochs: leave out EarlyStopping, set --model.phase.epochs")
    if _has(own, BatchSizeFinder):
        raise InputError(
            "BatchSizeFinder would train with another batch size than config.yaml says: leave it out, set "
            "--data.batch_size"
        )
    if _has(own, LearningRateFinder):
        raise InputError(
            "LearningRateFinder sets one rate, and each phase's rises and falls as its options say: leave it "
            f"out, compare rates with `sweep`, and set {_rates(module)}"
        )
    if _has(own, StochasticWeightAveraging, WeightAveraging):
        _check_averaging(own, given, module)


def _rates(module: LightningModule) -> str:
    """The options that hold learning rates."""
    if isinstance(module, TwoPhases):
        return "--model.judge_phase.lr and --model.student_phase.lr"
    return "--model.phase.lr" if isinstance(module, SequentialTraining) else "--model.training.lr"


def _check_averaging(own: list[Callback], given: Mapping[str, Any], module: LightningModule) -> None:
    """Refuses averages of weights that are not those of one model in one phase."""
    instead = (
        "use StochasticWeightAveraging, which averages the student" if _has(own, WeightAveraging) else ""
    )
    if not isinstance(module, TwoPhases) or not module.automatic_optimization:
        raise InputError(
            "averages of weights are of the student of a KCMModule alone: leave the callback out of this "
            "training, whose learning rate falls to 0"
        )
    if instead:
        raise InputError(f"WeightAveraging would average judge and student over both phases: {instead}")
    if _has(own, EarlyStopping):
        raise InputError(
            "StochasticWeightAveraging has to know the last epoch: leave out EarlyStopping, or keep it and "
            "leave out the averages"
        )
    last = given["max_epochs"] or module.total_epochs
    first = module.judge_epochs + 2  # its first average is of the weights that the epoch begins with
    for each in own:
        if isinstance(each, StochasticWeightAveraging):
            begin = each._swa_epoch_start
            start = int(begin * last) if isinstance(begin, float) else begin
            if not first <= start <= last:
                raise InputError(
                    f"StochasticWeightAveraging averages the student: swa_epoch_start={begin} is epoch "
                    f"{start} of judge and student together; set it from {first} to {last}"
                    + (", with more --model.student_phase.epochs" if first > last else "")
                )


def _has(callbacks: list[Callback], *kinds: type[Callback]) -> bool:
    return any(isinstance(each, kinds) for each in callbacks)


def callbacks_of(given: Mapping[str, Any]) -> list[Callback]:
    """The user's callbacks, of which there may be none, one or a list."""
    callbacks = given["callbacks"]
    if callbacks is None:
        return []
    return [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
