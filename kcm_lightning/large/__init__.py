"""Large models: frozen, expensive, and never part of a checkpoint."""

from kcm_lightning.large.base import Answer, LargeModel
from kcm_lightning.large.cache import Cached
from kcm_lightning.large.captioner import LargeCaptioner
from kcm_lightning.large.chat import Chat
from kcm_lightning.large.clip import CLIP
from kcm_lightning.large.image_classifier import ImageClassifier
from kcm_lightning.large.image_to_text import ImageToText
from kcm_lightning.large.recorded import Recorded
from kcm_lightning.large.recorded_captions import RecordedCaptions
from kcm_lightning.large.text_classifier import TextClassifier

__all__ = [
    "CLIP",
    "Answer",
    "Cached",
    "Chat",
    "ImageClassifier",
    "ImageToText",
    "LargeCaptioner",
    "LargeModel",
    "Recorded",
    "RecordedCaptions",
    "TextClassifier",
]
