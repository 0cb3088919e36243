"""The LightningModules of the collaboration, one a kind of answer."""

from kcm_lightning.module.captions import KCMCaptions
from kcm_lightning.module.kcm import KCMModule
from kcm_lightning.module.two_stage import KCMTwoStage

__all__ = ["KCMCaptions", "KCMModule", "KCMTwoStage"]
