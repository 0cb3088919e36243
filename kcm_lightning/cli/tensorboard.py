"""What TensorBoard is told of a run."""

from collections.abc import Mapping
from typing import Any

from lightning import LightningModule
from lightning.pytorch.loggers import TensorBoardLogger

from kcm_lightning.callbacks import TensorBoardPages
from kcm_lightning.module import KCMCaptions, KCMModule, SequentialTraining

_SHOWN = ("seed_everything", "model", "data")


def tensorboard_pages(module: LightningModule, config: Mapping[str, Any]) -> TensorBoardPages:
    """The callback that shows a run's options, and its figures side by side.

    Args:
        module: what is trained.
        config: the resolved configuration, plain values only.
    """
    if isinstance(module, KCMModule):
        figure = "val/student_CIDEr_words" if isinstance(module, KCMCaptions) else "val/student_overall"
    else:
        figure = "val/overall" if isinstance(module, SequentialTraining) else "val/accuracy"
    return TensorBoardPages({name: config[name] for name in _SHOWN}, figure)


def log_options(trainer: Any, config: Mapping[str, Any]) -> None:
    """Gives each logger the options of the run.

    Args:
        trainer: the Trainer.
        config: the resolved configuration, plain values only.
    """
    for logger in trainer.loggers:
        # without figures, TensorBoard's would get one of -1: `TensorBoardPages` gives it real ones
        more: dict[str, Any] = {"metrics": {}} if isinstance(logger, TensorBoardLogger) else {}
        logger.log_hyperparams({name: config[name] for name in _SHOWN}, **more)
