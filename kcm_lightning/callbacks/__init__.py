"""Figures while training, and checkpoints."""

from kcm_lightning.callbacks.budget import Budget
from kcm_lightning.callbacks.caption_examples import CaptionExamples
from kcm_lightning.callbacks.confidence_histogram import ConfidenceHistogram
from kcm_lightning.callbacks.console_progress import ConsoleProgress
from kcm_lightning.callbacks.fit_progress import FitProgress, not_done
from kcm_lightning.callbacks.run_checkpoint import RunCheckpoint, RunCheckpointIO
from kcm_lightning.callbacks.tensorboard import TensorBoardPages

__all__ = [
    "Budget",
    "CaptionExamples",
    "ConfidenceHistogram",
    "ConsoleProgress",
    "FitProgress",
    "RunCheckpoint",
    "RunCheckpointIO",
    "TensorBoardPages",
    "not_done",
]
