"""Figures while training."""

from kcm_lightning.callbacks.confidence_histogram import ConfidenceHistogram

__all__ = ["ConfidenceHistogram"]
