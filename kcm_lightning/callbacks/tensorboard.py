"""TensorBoard's pages of a run: what is shown beside the scalars that any logger gets."""

from collections.abc import Iterator, Mapping
from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger

from kcm_lightning.utils.option_names import by_name

_STUDENT = "val/student_"


def tensorboards(trainer: Any) -> list[TensorBoardLogger]:
    """TensorBoard loggers of a trainer that write: none in processes that do not."""
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]


def writers_of(trainer: Any) -> list[Any]:
    """What figures and texts can be added to, a `SummaryWriter` for each TensorBoard logger."""
    return [logger.experiment for logger in tensorboards(trainer)]


class TensorBoardPages(L.Callback):
    """Gives TensorBoard a run's options, a figure to compare runs by, and one page of charts.

    HPARAMS shows the options beside `hp_metric`, the validation figure of the best checkpoint so far, and
    CUSTOM SCALARS shows judge, student, KCM and LM rate side by side. Other loggers get none of it.

    Args:
        options: the resolved configuration, plain values only.
        figure: name of the validation figure that says how good a checkpoint is, "val/student_overall" for
            instance; the charts are for runs with a student.
    """

    def __init__(self, options: Mapping[str, Any], figure: str):
        self.options, self.figure = dict(_shown(options)), figure

    def on_train_start(self, trainer: Any, module: Any) -> None:
        from torch.utils.tensorboard.summary import hparams

        # columns alone: with TensorBoardLogger.log_hyperparams they would have figures before there are any
        columns = dict.fromkeys(("hp_metric", *_compared(self.figure)), 0.0)
        for writer in writers_of(trainer):
            for summary in hparams(self.options, columns):
                writer._get_file_writer().add_summary(summary)
            if self.figure.startswith(_STUDENT):
                writer.add_custom_scalars({"KCM": _charts(self.figure.removeprefix(_STUDENT))})

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        figure = trainer.callback_metrics.get(self.figure)
        if trainer.state.fn != "fit" or trainer.sanity_checking or figure is None or not _is_best(trainer):
            return
        for logger in tensorboards(trainer):
            logger.log_metrics({"hp_metric": figure.item()}, step=trainer.global_step)


def _is_best(trainer: Any) -> bool:
    """Whether what was validated is better than the best checkpoint, which is written after it."""
    selection = trainer.callback_metrics.get("selection")
    own = [each for each in trainer.checkpoint_callbacks if getattr(each, "monitor", None) == "selection"]
    best = own[-1].best_model_score if own else None
    return best is None or selection is None or bool(selection > best)


def _compared(figure: str) -> list[str]:
    """Scalars that HPARAMS shows beside `hp_metric`: the collaboration's, in validation and in test."""
    if not figure.startswith(_STUDENT):
        return []
    measure = figure.removeprefix(_STUDENT)
    found = [f"val/judge_{measure}", f"val/kcm_{measure}", "val/lm_rate_called"]
    return [*found, f"test/kcm_{measure.removesuffix('_words')}", "test/lm_rate_called"]


def _charts(measure: str) -> dict[str, list[Any]]:
    """Charts of a collaboration, in the order they are shown in."""
    name = "accuracy" if measure == "overall" else measure.replace("_words", "")
    charts = {
        f"{name} of judge, student and KCM": [f"val/{who}_{measure}" for who in ("judge", "student", "kcm")],
        "LM rate": ["val/lm_rate_called"],
    }
    if measure == "overall":
        errors = [f"val/{who}_calibration_error" for who in ("judge", "student")]
        charts["calibration error of judge and student"] = errors
    charts["who teaches: judge x1, large model x2, nobody x3"] = [f"partition/x{part}" for part in (1, 2, 3)]
    charts["loss of judge and student"] = ["train/judge_loss", "train/student_loss"]
    return {title: ["Multiline", tags] for title, tags in charts.items()}


def _shown(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Options as a table can hold them; a class by its last name."""
    for name, value in by_name(options):
        if name.endswith(".class_path"):
            yield name.removesuffix(".class_path"), str(value).rpartition(".")[-1]
        elif value is not None:
            yield name, value if isinstance(value, bool | int | float | str) else str(value)
