"""The LightningModules."""

from kcm_lightning.module.finetune import FineTuneImageClassifier, FineTuneTextClassifier
from kcm_lightning.module.kcm import KCMModule
from kcm_lightning.module.kcm_captions import KCMCaptions
from kcm_lightning.module.mcm_two_stage import KCMTwoStage
from kcm_lightning.module.sequential import SequentialTraining

__all__ = [
    "FineTuneImageClassifier",
    "FineTuneTextClassifier",
    "KCMCaptions",
    "KCMModule",
    "KCMTwoStage",
    "SequentialTraining",
]
