"""torchmetrics of the collaboration, and functions of recorded answers."""

from kcm_lightning.metrics.baseline_routers import (
    against_random,
    oracle_accuracy,
    random_accuracy,
    routing_curve,
)
from kcm_lightning.metrics.forgetting import AverageForgetting, BackwardTransfer, TaskAccuracy
from kcm_lightning.metrics.lm_rate import LMRate
from kcm_lightning.metrics.paired_bootstrap import paired_difference
from kcm_lightning.metrics.region_accuracy import RegionAccuracy
from kcm_lightning.metrics.reliability import Reliability

__all__ = [
    "AverageForgetting",
    "BackwardTransfer",
    "LMRate",
    "RegionAccuracy",
    "Reliability",
    "TaskAccuracy",
    "against_random",
    "oracle_accuracy",
    "paired_difference",
    "random_accuracy",
    "routing_curve",
]
