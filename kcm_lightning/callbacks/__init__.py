"""Figures while training."""

from kcm_lightning.callbacks.caption_examples import CaptionExamples
from kcm_lightning.callbacks.confidence_histogram import ConfidenceHistogram

__all__ = ["CaptionExamples", "ConfidenceHistogram"]
