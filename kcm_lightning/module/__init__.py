"""The LightningModules."""

from kcm_lightning.module.finetune import FineTuneImageClassifier, FineTuneTextClassifier
from kcm_lightning.module.kcm import KCMModule
from kcm_lightning.module.kcm_captions import KCMCaptions
from kcm_lightning.module.sequential import SequentialTraining
from kcm_lightning.module.two_stage import KCMTwoStage

__all__ = [
    "FineTuneImageClassifier",
    "FineTuneTextClassifier",
    "KCMCaptions",
    "KCMModule",
    "KCMTwoStage",
    "SequentialTraining",
]
