"""Large models: frozen, expensive, and never part of a checkpoint."""

from kcm_lightning.large.base import LargeClassifier, LargeModel
from kcm_lightning.large.captioner import LargeCaptioner
from kcm_lightning.large.chat import Chat
from kcm_lightning.large.clip import CLIP
from kcm_lightning.large.image_classifier import ImageClassifier
from kcm_lightning.large.image_to_text import ImageToText
from kcm_lightning.large.recorded import Recorded
from kcm_lightning.large.recorded_captions import RecordedCaptions
from kcm_lightning.large.text_classifier import TextClassifier
from kcm_lightning.large.with_cache import with_cache
from kcm_lightning.large.zero_shot_text import ZeroShotText

__all__ = [
    "CLIP",
    "Chat",
    "ImageClassifier",
    "ImageToText",
    "LargeCaptioner",
    "LargeClassifier",
    "LargeModel",
    "Recorded",
    "RecordedCaptions",
    "TextClassifier",
    "ZeroShotText",
    "with_cache",
]
