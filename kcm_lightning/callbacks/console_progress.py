"""Progress on the console: where a command is, how good it is so far, and how long it will take."""

import time
from typing import Any

from lightning.pytorch.callbacks import ProgressBar
from torch import Tensor

from kcm_lightning.utils.progress import ProgressLine, clock


class ConsoleProgress(ProgressBar):
    """One line that says phase, loss, validation figures and time left.

    On a terminal it changes in place; elsewhere, as in a log, a line is written when a phase begins and ends,
    and now and then in between.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown = True
        self._line = ProgressLine()
        self._start, self._first_epoch, self._phase = 0.0, 0, ""
        # samples of an evaluation; the first is a tensor, which a GPU is not waited for at each batch
        self._called: Any = 0
        self._seen = 0

    def disable(self) -> None:
        """Shows nothing, as in all processes but the first."""
        self._shown = False

    def enable(self) -> None:
        """Shows progress again."""
        self._shown = True

    # ------------------------------------------------------------- training

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        name, epoch, _ = _position(trainer, pl_module)
        if name != self._phase:  # not before: the student first collects the answers that it learns from
            self._phase, self._first_epoch, self._start = name, epoch, time.monotonic()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._line.terminal and self._line.due():
            share = (batch_idx + 1) / max(1, trainer.num_training_batches)
            self._show(self._training(trainer, pl_module, share))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        _, epoch, epochs = _position(trainer, pl_module)
        last = epoch == epochs
        if self._line.terminal or last or epoch == self._first_epoch or self._line.due():
            self._show(self._training(trainer, pl_module, 1.0), end=last)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._line.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._line.close()

    def _training(self, trainer: Any, module: Any, share: float) -> str:
        """The line of a training, `share` into an epoch."""
        name, epoch, epochs = _position(trainer, module)
        done = epoch - self._first_epoch + share
        left = (time.monotonic() - self._start) / done * (epochs - epoch + 1 - share) if done else 0.0
        words = [f"{name} {epoch}/{epochs}", *_figures(trainer.callback_metrics, name)]
        return ", ".join([*words, f"{clock(left)} left"]).replace(", ", ": ", 1)

    # ----------------------------------------------------------- evaluation

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if trainer.state.fn != "fit":
            self._evaluation("validation", outputs, batch_idx + 1, trainer.num_val_batches)

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._evaluation("test", outputs, batch_idx + 1, trainer.num_test_batches)

    def on_predict_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._evaluation("predict", outputs, batch_idx + 1, trainer.num_predict_batches)

    def on_test_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.state.fn != "fit":
            self._start, self._called, self._seen = time.monotonic(), 0, 0

    on_validation_epoch_start = on_predict_epoch_start = on_test_epoch_start

    def _evaluation(self, name: str, outcome: Any, done: int, batches: Any) -> None:
        """Counts a batch and shows how far the evaluation is."""
        if isinstance(called := getattr(outcome, "called", None), Tensor):
            self._called = self._called + called.sum()
            self._seen += called.numel()
        total = int(sum(batches))
        last = self._line.terminal and done == total
        if not last and not self._line.due():
            return
        left = (time.monotonic() - self._start) / done * (total - done)
        words = [f"{name}: batch {done}/{total}"]
        if self._seen and name != "validation":  # calibrate's has no gates yet
            words.append(f"LM rate so far {100 * float(self._called) / self._seen:.1f} %")
        self._show(", ".join([*words, f"{clock(left)} left"]), end=last)

    def _show(self, text: str, *, end: bool = False) -> None:
        if self._shown:
            self._line.show(text, end=end)


def _position(trainer: Any, module: Any) -> tuple[str, int, int]:
    """Name of the phase, the epoch within it, and its epochs."""
    if hasattr(module, "phase_position"):
        return module.phase_position
    return "epoch", trainer.current_epoch + 1, trainer.max_epochs


def _figures(metrics: Any, phase: str) -> list[str]:
    """What is known of a phase: loss, and the figures of the last validation."""
    loss = next((name for name in (f"train/{phase}_loss", "train/loss") if name in metrics), None)
    words = [f"loss {metrics[loss].item():.3f}"] if loss else []
    shown = {"val/judge_overall": "accuracy"} if phase == "judge" else {"val/kcm_overall": "KCM accuracy"}
    shown |= {"val/accuracy": "accuracy", "val/overall": "accuracy"}
    words += [
        f"{title} {100 * metrics[name].item():.2f} %" for name, title in shown.items() if name in metrics
    ]
    who = "judge" if phase == "judge" else "kcm"
    if f"val/{who}_CIDEr_words" in metrics:
        words.append(f"CIDEr x 100 {100 * metrics[f'val/{who}_CIDEr_words'].item():.1f}")
    if phase == "student" and "val/lm_rate_called" in metrics:
        words.append(f"LM rate {100 * metrics['val/lm_rate_called'].item():.1f} %")
    return words
