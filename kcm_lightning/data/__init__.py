"""LightningDataModules."""

from kcm_lightning.data.apd import APD
from kcm_lightning.data.base import CaptionDataModule, KCMDataModule
from kcm_lightning.data.cifar100_lt import CIFAR100LT
from kcm_lightning.data.digits_lt import DigitsLT
from kcm_lightning.data.hub_datasets import HubCaptions, HubImages, HubTexts
from kcm_lightning.data.image_folder import ImageFolder
from kcm_lightning.data.mscoco import MSCOCO
from kcm_lightning.data.text_table import TextTable

__all__ = [
    "APD",
    "CIFAR100LT",
    "MSCOCO",
    "CaptionDataModule",
    "DigitsLT",
    "HubCaptions",
    "HubImages",
    "HubTexts",
    "ImageFolder",
    "KCMDataModule",
    "TextTable",
]
