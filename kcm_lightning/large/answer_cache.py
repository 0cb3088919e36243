"""Answers of a large model on disk, so that nothing is asked twice."""

import numpy as np
import torch
from torch import Tensor

from kcm_lightning.core.predictions import Query
from kcm_lightning.large.base import LargeClassifier, LargeModel
from kcm_lightning.large.cached_model import CachedModel
from kcm_lightning.large.caption_cache import CachedCaptioner
from kcm_lightning.large.captioner import LargeCaptioner


def with_cache(model: LargeModel, folder: str, dataset: str) -> LargeModel:
    """A large model with its answers kept in a folder; one that keeps its own answers as it is.

    Args:
        model: the large model.
        folder: made when missing.
        dataset: name of the data set that the sample ids refer to.
    """
    if model.keeps_own_answers:
        return model
    kind = CachedCaptioner if isinstance(model, LargeCaptioner) else CachedClassifier
    return kind(model, folder, dataset)


class CachedClassifier(CachedModel, LargeClassifier):
    """A large classifier whose distributions are kept on disk."""

    model: LargeClassifier
    file, schema = (
        "answers.sqlite",
        """CREATE TABLE IF NOT EXISTS distributions (
    model TEXT, sample INTEGER, prompt BLOB, positions INTEGER, value BLOB,
    PRIMARY KEY (model, sample, prompt)) WITHOUT ROWID""",
    )

    def distribution(self, query: Query) -> Tensor:
        """Distributions out of the file; what is not there is asked and stored."""
        if query.sample_ids is None:
            return self.model.distribution(query)
        sample_ids = query.sample_ids.tolist()
        keys = self.keys(query, sample_ids)
        stored = self.stored("distributions", "positions, value", sample_ids)
        found = [_unpacked(*stored[key]) if key in stored else None for key in keys]
        missing = [row for row, value in enumerate(found) if value is None]
        if missing:
            whole = len(missing) == len(found)
            fresh = self.model.distribution(query if whole else query.rows(torch.tensor(missing)))
            values = fresh.float().cpu().numpy()
            answered = (~np.isnan(values).any(axis=(1, 2))).nonzero()[0].tolist()
            self.insert("distributions", [(*keys[missing[i]], *_packed(values[i])) for i in answered])
            if whole:
                return fresh
            for row, value in zip(missing, values, strict=True):
                found[row] = value
        return torch.from_numpy(np.stack(found)).to(query.sample_ids.device)  # (B, L, V)


def _packed(value: np.ndarray) -> tuple[int, bytes]:
    return value.shape[0], value.astype("<f4").tobytes()


def _unpacked(positions: int, value: bytes) -> np.ndarray:
    return np.frombuffer(value, dtype="<f4").reshape(positions, -1)
