"""`calibrate`: temperatures and thresholds from one pass over the validation split."""

from kcm_lightning.calibrate.trainer import KCMTrainer

__all__ = ["KCMTrainer"]
