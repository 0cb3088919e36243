"""The LightningModules of the collaboration, one a kind of answer."""

from kcm_lightning.module.kcm import KCMModule

__all__ = ["KCMModule"]
