"""Early stopping ends a phase, not the run."""

from typing import Any

from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint, Timer
from torch import inf, lt, tensor

_OF_THE_JUDGE = "val/judge_"
_OF_BOTH_PHASES = (_OF_THE_JUDGE, "val/student_")


class PhaseEnd(Checkpoint):
    """Lets an `EarlyStopping` in the judge's phase begin the student's, and in the student's end the run.

    One that looks at the judge's metrics acts in the judge's phase alone: later the judge is frozen. One
    whose metric is not there in the judge's phase, as `val/kcm_overall`, acts in the student's alone. Each
    starts anew with a phase.

    It is a `Checkpoint` to Lightning, which calls those after early stopping; it runs before the ones that
    save, so that they know of the phase's end.
    """

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        others = [callback for callback in trainer.callbacks if callback is not self]
        saving = [isinstance(callback, ModelCheckpoint) for callback in others]
        place = saving.index(True) if any(saving) else len(others)
        trainer.callbacks = [*others[:place], self, *others[place:]]
        for stopping in _stoppings(trainer):
            monitor = stopping.monitor
            if monitor.startswith("val/") and not monitor.startswith(_OF_BOTH_PHASES):
                stopping.strict = False

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == pl_module.judge_epochs:
            for stopping in _stoppings(trainer):
                stopping.wait_count, stopping.stopped_epoch = 0, 0
                stopping.best_score = tensor(inf if stopping.monitor_op == lt else -inf)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        stopped = [each for each in _stoppings(trainer) if each.stopped_epoch == trainer.current_epoch]
        if not trainer.should_stop or not stopped or _time_is_up(trainer):
            return
        if not pl_module.distilling:
            pl_module.end_judge_phase()
            trainer.should_stop = False
        elif all(each.monitor.startswith(_OF_THE_JUDGE) for each in stopped):
            trainer.should_stop = False
        else:
            pl_module.student_stopped = True


def _stoppings(trainer: Any) -> list[EarlyStopping]:
    return [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]


def _time_is_up(trainer: Any) -> bool:
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]
    left = [timer.time_remaining() for timer in timers]
    return any(seconds is not None and seconds <= 0 for seconds in left)
