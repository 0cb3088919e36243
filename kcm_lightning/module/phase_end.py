"""Callbacks act in the phase that their metric is of; early stopping ends a phase, not the run."""

from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint, Timer
from torch import Tensor, inf, lt, tensor

from kcm_lightning.utils.errors import InputError

_OF_THE_JUDGE = ("val/judge_", "train/judge_")
_OF_THE_STUDENT = ("val/kcm_", "val/lm_rate_", "train/student_", "train/equation_", "partition/")


class PhaseEnd(Checkpoint):
    """Lets an `EarlyStopping` in the judge's phase begin the student's, and in the student's end the run.

    An `EarlyStopping` or `ModelCheckpoint` whose metric is not there in the judge's phase, as
    `val/kcm_overall`, waits for the student's. An `EarlyStopping` on the judge's metrics acts in the judge's
    phase alone: later the judge is frozen. Each `EarlyStopping` starts anew with a phase.

    It is a `Checkpoint` to Lightning, which calls those after early stopping; it runs before the ones that
    save, so that they know of the phase's end.
    """

    every: list[Callback]  # also those that wait
    frozen: dict[str, Tensor] | None = None  # the judge's buffers, once it is frozen

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        others = [callback for callback in trainer.callbacks if callback is not self]
        saving = [isinstance(callback, ModelCheckpoint) for callback in others]
        place = saving.index(True) if any(saving) else len(others)
        self.every = trainer.callbacks = [*others[:place], self, *others[place:]]
        for stopping in _stoppings(trainer):
            stopping.strict = False  # a metric that is not there is told here, with those that are

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._choose(trainer, distilling=pl_module.distilling)
        if pl_module.distilling:
            self._keep_frozen(pl_module)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == pl_module.judge_epochs:
            self._choose(trainer, distilling=True)
            for stopping in _stoppings(trainer):
                stopping.wait_count, stopping.stopped_epoch = 0, 0
                stopping.best_score = tensor(inf if stopping.monitor_op == lt else -inf)
        if pl_module.distilling:
            self._keep_frozen(pl_module)

    def _keep_frozen(self, module: Any) -> None:
        """Puts the judge's statistics back: at its end averaging resets those of all batch normalizations."""
        if self.frozen is None:
            self.frozen = {name: buffer.clone() for name, buffer in module.judge.named_buffers()}
        module.judge.load_state_dict(self.frozen, strict=False)

    def _choose(self, trainer: Any, *, distilling: bool) -> None:
        """Leaves the callbacks to the Trainer that have something to look at in a phase."""
        trainer.callbacks = [each for each in self.every if _acts(each, distilling)]

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        for callback in self.every:
            _check_metric(callback, trainer, pl_module.distilling)
        stopped = [each for each in _stoppings(trainer) if each.stopped_epoch == trainer.current_epoch]
        if not trainer.should_stop or not stopped or _time_is_up(trainer):
            return
        if not pl_module.distilling:
            pl_module.end_judge_phase()
            trainer.should_stop = False
        else:
            pl_module.student_stopped = True


def _monitor(callback: Callback) -> str | None:
    """The metric that a callback looks at."""
    return callback.monitor if isinstance(callback, EarlyStopping | ModelCheckpoint) else None


def _acts(callback: Callback, distilling: bool) -> bool:
    monitor = _monitor(callback) or ""
    if distilling:
        return not (isinstance(callback, EarlyStopping) and monitor.startswith(_OF_THE_JUDGE))
    return not monitor.startswith(_OF_THE_STUDENT)


def _check_metric(callback: Callback, trainer: Any, distilling: bool) -> None:
    """Refuses a metric that will never be there, as soon as that is known."""
    monitor, known = _monitor(callback), set(trainer.callback_metrics)
    if monitor in (None, "selection") or monitor in known or (distilling and not _acts(callback, distilling)):
        return
    if not distilling:  # what the student's phase will log of a region, this one logs of the judge
        known |= {name.replace("judge_", "kcm_", 1) for name in known if name.startswith("val/judge_")}
        later = tuple(prefix for prefix in _OF_THE_STUDENT if prefix != "val/kcm_")
        if monitor in known or monitor.startswith(later):
            return
    validated = any(name.startswith("val/") for name in known) or not sum(trainer.num_val_batches)
    if monitor.startswith("train/") or validated:
        names = ", ".join(sorted(name for name in known if not name.startswith("selection")))
        raise InputError(f"{type(callback).__name__}: there is no metric {monitor!r}; there are {names}")


def _stoppings(trainer: Any) -> list[EarlyStopping]:
    return [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]


def _time_is_up(trainer: Any) -> bool:
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]
    left = [timer.time_remaining() for timer in timers]
    return any(seconds is not None and seconds <= 0 for seconds in left)
