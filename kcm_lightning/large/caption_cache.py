"""Captions of a large model on disk, so that no image is captioned twice."""

import numpy as np
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large.answer_cache import CachedModel
from kcm_lightning.large.captioner import CaptionAnswer, LargeCaptioner, TokenSteps, join


class CachedCaptioner(CachedModel, LargeCaptioner):
    """A large captioner whose captions are kept on disk.

    Asked for steps that are not stored, it is asked again.
    """

    model: LargeCaptioner
    file, schema = (
        "captions.sqlite",
        """CREATE TABLE IF NOT EXISTS captions (
    model TEXT, sample INTEGER, prompt BLOB, caption TEXT, confidence REAL, places INTEGER, ending INTEGER,
    steps BLOB, PRIMARY KEY (model, sample, prompt)) WITHOUT ROWID""",
    )

    def load(self, class_names: list[str], device: torch.device) -> None:
        super().load(class_names, device)
        self.tokenizer = self.model.tokenizer

    def caption(self, query: Query, *, with_steps: bool = False) -> CaptionAnswer:
        """Captions out of the file; what is not there is asked and stored."""
        if query.sample_ids is None:
            return self.model.caption(query, with_steps=with_steps)
        sample_ids = query.sample_ids.tolist()
        keys = self.keys(query, sample_ids)
        stored = self.stored("captions", "caption, confidence, places, ending, steps", sample_ids)
        device = query.sample_ids.device
        found = [_unpacked(*stored[key], device=device) if key in stored else None for key in keys]
        missing = [row for row, own in enumerate(found) if own is None or (with_steps and own.steps is None)]
        if missing:
            fresh = self.model.caption(query.rows(torch.tensor(missing)), with_steps=with_steps)
            answers = {row: fresh.rows(torch.tensor([place])) for place, row in enumerate(missing)}
            captioned = {row: own for row, own in answers.items() if own.prediction[0] is not None}
            self.insert("captions", [(*keys[row], *_packed(own)) for row, own in captioned.items()])
            found = [answers.get(row, own) for row, own in enumerate(found)]
        return join([own for own in found if own is not None])


def _packed(answer: CaptionAnswer) -> tuple:
    caption, confidence, steps = answer.prediction[0], answer.confidence.item(), answer.steps
    if steps is None:
        return caption, confidence, None, None, None
    numbers = torch.cat([steps.tokens[0].unsqueeze(1), steps.topk_tokens[0]], dim=1)  # (L, 1 + K)
    blob = numbers.cpu().numpy().astype("<i4").tobytes()
    return (
        caption,
        confidence,
        len(numbers),
        steps.end,
        blob + steps.topk_probs[0].cpu().numpy().astype("<f4").tobytes(),
    )


def _unpacked(
    caption: str, confidence: float, length: int, end: int, blob: bytes | None, *, device: torch.device
) -> CaptionAnswer:
    sure = torch.tensor([confidence], dtype=torch.float32, device=device)
    if blob is None:
        return CaptionAnswer([caption], sure)
    top_k = (len(blob) // 4 // length - 1) // 2
    split = 4 * length * (1 + top_k)
    integers = np.frombuffer(blob[:split], "<i4").reshape(1, length, -1).astype(np.int64)
    numbers = torch.from_numpy(integers).to(device)
    probs = torch.from_numpy(np.frombuffer(blob[split:], "<f4").reshape(1, length, -1).copy()).to(device)
    steps = TokenSteps(tokens=numbers[..., 0], topk_tokens=numbers[..., 1:], topk_probs=probs, end=end)
    return CaptionAnswer([caption], sure, steps)
