"""Which cache a large model gets."""

from kcm_lightning.large.answer_cache import CachedClassifier
from kcm_lightning.large.base import LargeClassifier, LargeModel
from kcm_lightning.large.caption_cache import CachedCaptioner
from kcm_lightning.large.captioner import LargeCaptioner
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import check_path


def with_cache(model: LargeModel, folder: str) -> LargeModel:
    """A large model with its answers kept in a folder; one that keeps its own answers as it is.

    Args:
        model: the large model.
        folder: made when missing.

    Raises:
        InputError: the folder cannot be used, or the model is of neither kind.
    """
    check_path("--model.cache", folder)
    if model.keeps_own_answers:
        return model
    if isinstance(model, LargeCaptioner):
        return CachedCaptioner(model, folder)
    if isinstance(model, LargeClassifier):
        return CachedClassifier(model, folder)
    raise InputError(f"{type(model).__name__} is neither a LargeClassifier nor a LargeCaptioner")
