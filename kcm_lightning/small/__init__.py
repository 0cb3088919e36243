"""Small models: judges and students."""

from kcm_lightning.small.beam_search import Captions, generate
from kcm_lightning.small.captioner import Captioner, PlainCaptioner
from kcm_lightning.small.ckan import CKAN, CNN
from kcm_lightning.small.encoder import EncoderWithHead
from kcm_lightning.small.resnet import ExpertResNet32, ResNet101
from kcm_lightning.small.tkan import GRU, TKAN
from kcm_lightning.small.twin import cnn_twin

__all__ = [
    "CKAN",
    "CNN",
    "GRU",
    "TKAN",
    "Captioner",
    "Captions",
    "EncoderWithHead",
    "ExpertResNet32",
    "PlainCaptioner",
    "ResNet101",
    "cnn_twin",
    "generate",
]
