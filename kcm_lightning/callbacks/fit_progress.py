"""How far a `fit` has come, for the commands that follow it."""

import time
from pathlib import Path
from typing import Any

import lightning as L

from kcm_lightning.utils.files import write_json
from kcm_lightning.utils.plain_files import read_json

_FILE = "fit.json"


class FitProgress(L.Callback):
    """Leaves `fit.json`: the epochs of each phase that are done, and those that were planned.

    An epoch that was cut short, by `max_steps` or `max_time`, is not done. Beside the epochs stands how long
    it took, of a resumed fit all of its parts together.

    Args:
        folder: the run folder, which exists.

    Attributes:
        trained: whether this command has trained anything.
    """

    def __init__(self, folder: Path):
        self.path, self.done, self.trained = Path(folder) / _FILE, 0, False
        self.began, self.earlier = time.monotonic(), 0.0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.done = trainer.current_epoch
        self.began = time.monotonic()
        self.earlier = seconds_of_fit(self.path.parent) or 0.0 if trainer.ckpt_path else 0.0
        self._write(trainer, pl_module)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.trained = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.done = trainer.current_epoch + is_whole(trainer)
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # now early stopping has had its say
        self._write(trainer, pl_module)

    def _write(self, trainer: Any, module: Any) -> None:
        if trainer.is_global_zero and hasattr(module, "phases_after"):
            overfit = getattr(trainer.datamodule, "overfit", False)
            cut = {
                "trained": trainer.num_training_batches,
                "of": _batches_in_all(trainer),
                "overfit": overfit,
            }
            seconds = self.earlier + time.monotonic() - self.began
            write_json(
                self.path, module.phases_after(self.done) | {"batches_per_epoch": cut, "seconds": seconds}
            )


def seconds_of_fit(run: Path) -> float | None:
    """How long the `fit` of a run took; None where that is not known."""
    try:
        return float(read_json(run / _FILE)["seconds"])
    except (ValueError, KeyError, TypeError):
        return None


def is_whole(trainer: Any) -> bool:
    """Whether the epoch that ends has seen all of its batches."""
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def _batches_in_all(trainer: Any) -> int:
    """Batches of the epoch, had the Trainer no limit."""
    loader = trainer.train_dataloader
    return len(loader) if hasattr(loader, "__len__") else trainer.num_training_batches


def not_done(run: Path) -> list[str]:
    """What a run's `fit` has not done of what was planned, a sentence each; empty where all is done.

    Args:
        run: the run folder; without a `fit.json` nothing is known.
    """
    try:
        phases = read_json(run / _FILE)
        cut = phases.get("batches_per_epoch", {"trained": 1, "of": 1})
        return _sentences(phases["judge"], phases["student"]) + _sentence_of_batches(cut)
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _sentences(judge: dict[str, Any], student: dict[str, Any]) -> list[str]:
    said = []
    if judge.get("untrained"):
        said.append("the judge was not trained: its weights are random")
    if _cut_short(judge):
        said.append(f"the judge was trained for {judge['done']} of {judge['planned']} epochs")
    if student["planned"] and not student["done"]:
        said.append("the student was not distilled: its figures are the judge's")
    elif _cut_short(student):
        said.append(f"the student was distilled for {student['done']} of {student['planned']} epochs")
    return said


def _sentence_of_batches(cut: dict[str, int]) -> list[str]:
    if cut["trained"] >= cut["of"]:
        return []
    why = "overfit_batches, which validates on them too" if cut.get("overfit") else "limit_train_batches"
    return [f"an epoch took {cut['trained']} of {cut['of']} batches (--trainer.{why})"]


def _cut_short(phase: dict[str, Any]) -> bool:
    return phase["done"] < phase["planned"] and not phase["stopped_early"]
