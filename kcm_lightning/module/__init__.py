"""The LightningModules."""

from kcm_lightning.module.captions import KCMCaptions
from kcm_lightning.module.kcm import KCMModule
from kcm_lightning.module.sequential import SequentialTraining
from kcm_lightning.module.two_stage import KCMTwoStage

__all__ = ["KCMCaptions", "KCMModule", "KCMTwoStage", "SequentialTraining"]
