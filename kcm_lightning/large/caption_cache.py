"""Captions of a large model on disk, so that no picture is captioned twice."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kcm_lightning.gating import take
from kcm_lightning.large.base import Answer
from kcm_lightning.large.cache import OnDisk, digest
from kcm_lightning.large.captioner import CaptionAnswer, LargeCaptioner, Steps, join

_SCHEMA = """CREATE TABLE IF NOT EXISTS captions (
    model TEXT, sample INTEGER, prompt BLOB, caption TEXT, confidence REAL, places INTEGER, ending INTEGER, steps BLOB,
    PRIMARY KEY (model, sample, prompt)) WITHOUT ROWID"""


class CachedCaptions(OnDisk, LargeCaptioner):
    """A large captioner whose captions are kept on disk. Asked for `steps` that are not stored, it is asked again."""

    file, schema = "captions.sqlite", _SCHEMA

    def load(self, class_names: list[str], device: torch.device) -> None:
        super().load(class_names, device)
        self.tokenizer = self.model.tokenizer

    def caption(
        self, inputs: Sequence[str], hint: Answer | None, samples: Tensor | None, in_fit: bool, steps: bool
    ) -> CaptionAnswer:
        """Captions out of the file; what is not there is asked and stored."""
        if samples is None:
            return self.model.caption(inputs, hint, None, in_fit, steps)
        prompts = [digest(prompt) for prompt in self.model.prompt_keys(hint, len(samples))]
        keys = list(zip(samples.tolist(), prompts, strict=True))
        stored = self.stored("captions", "caption, confidence, places, ending, steps", samples.tolist())
        found = [_unpacked(*stored[key], samples.device) if key in stored else None for key in keys]
        missing = [row for row, own in enumerate(found) if own is None or (steps and own.steps is None)]
        if missing:
            rows = torch.tensor(missing)
            asked = None if hint is None else Answer(take(hint.prediction, rows), take(hint.confidence, rows))
            fresh = self.model.caption(take(inputs, rows), asked, None, in_fit, steps)
            for place, row in enumerate(missing):
                found[row] = fresh.rows(torch.tensor([place]))
            self._write({keys[row]: found[row] for row in missing if found[row].prediction[0] is not None})
        return join(found)

    def _write(self, answers: dict[tuple[int, bytes], CaptionAnswer]) -> None:
        rows = [(self._key, *key, *_packed(answer)) for key, answer in answers.items()]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO captions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _packed(answer: CaptionAnswer) -> tuple:
    caption, confidence, steps = answer.prediction[0], answer.confidence.item(), answer.steps
    if steps is None:
        return caption, confidence, None, None, None
    numbers = torch.cat([steps.tokens[0].unsqueeze(1), steps.likely[0]], dim=1)  # (L, 1 + K)
    blob = numbers.cpu().numpy().astype("<i4").tobytes() + steps.probabilities[0].cpu().numpy().astype("<f4").tobytes()
    return caption, confidence, len(numbers), steps.end, blob


def _unpacked(
    caption: str, confidence: float, places: int | None, ending: int | None, blob: bytes | None, device: torch.device
) -> CaptionAnswer:
    sure = torch.tensor([confidence], dtype=torch.float32, device=device)
    if blob is None:
        return CaptionAnswer([caption], sure)
    choices = (len(blob) // 4 // places - 1) // 2
    split = 4 * places * (1 + choices)
    numbers = torch.from_numpy(np.frombuffer(blob[:split], "<i4").reshape(1, places, -1).astype(np.int64)).to(device)
    probabilities = torch.from_numpy(np.frombuffer(blob[split:], "<f4").reshape(1, places, -1).copy()).to(device)
    return CaptionAnswer([caption], sure, Steps(numbers[..., 0], numbers[..., 1:], probabilities, ending))
