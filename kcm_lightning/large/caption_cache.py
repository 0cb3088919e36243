"""Captions of a large model on disk, so that no image is captioned twice."""

import json

import numpy as np
import torch

from kcm_lightning.core.predictions import Query
from kcm_lightning.large.answer_cache import CachedModel, first_rows
from kcm_lightning.large.captioner import CaptionAnswer, LargeCaptioner, TokenSteps, join


class CachedCaptioner(CachedModel, LargeCaptioner):
    """A large captioner whose captions are kept on disk.

    Asked for steps that are not stored, it is asked again.
    """

    model: LargeCaptioner
    file, former = "captions.sqlite", "captions"

    def load(self, class_names: list[str], device: torch.device) -> None:
        super().load(class_names, device)
        self.tokenizer = self.model.tokenizer

    def caption(self, query: Query, *, with_steps: bool = False) -> CaptionAnswer:
        """Captions out of the file; what is not there is asked, equal questions once, and stored."""
        if query.sample_ids is None:
            return self.model.caption(query, with_steps=with_steps)
        keys = self.keys(query)
        device = query.sample_ids.device
        stored = {key: _unpacked(value, device) for key, value in self.stored(keys).items()}
        answers = {key: own for key, own in stored.items() if own.steps is not None or not with_steps}
        if missing := first_rows(keys, answers):
            fresh = self.model.caption(
                query.rows(torch.tensor(list(missing.values()))), with_steps=with_steps
            )
            own = {key: fresh.rows(torch.tensor([place])) for place, key in enumerate(missing)}
            captioned = {key: answer for key, answer in own.items() if answer.prediction[0] is not None}
            self.store({key: _packed(answer) for key, answer in captioned.items()})
            answers |= own
        return join([answers[key] for key in keys])


def _packed(answer: CaptionAnswer) -> bytes:
    """A line of JSON, then tokens and probabilities of the steps."""
    steps = answer.steps
    head = {"caption": answer.prediction[0], "confidence": answer.confidence.item()}
    if steps is None:
        return json.dumps(head).encode() + b"\n"
    numbers = torch.cat([steps.tokens[0].unsqueeze(1), steps.topk_tokens[0]], dim=1)  # (L, 1 + K)
    head |= {"places": len(numbers), "top_k": steps.topk_tokens.shape[-1], "end": steps.end}
    blob = numbers.cpu().numpy().astype("<i4").tobytes()
    return (
        json.dumps(head).encode() + b"\n" + blob + steps.topk_probs[0].cpu().numpy().astype("<f4").tobytes()
    )


def _unpacked(value: bytes, device: torch.device) -> CaptionAnswer:
    line, _, blob = value.partition(b"\n")
    head = json.loads(line)
    sure = torch.tensor([head["confidence"]], dtype=torch.float32, device=device)
    if "places" not in head:
        return CaptionAnswer([head["caption"]], sure)
    length, top_k = head["places"], head["top_k"]
    split = 4 * length * (1 + top_k)
    integers = np.frombuffer(blob[:split], "<i4").reshape(1, length, 1 + top_k).astype(np.int64)
    numbers = torch.from_numpy(integers).to(device)
    probs = torch.from_numpy(np.frombuffer(blob[split:], "<f4").reshape(1, length, top_k).copy()).to(device)
    steps = TokenSteps(
        tokens=numbers[..., 0], topk_tokens=numbers[..., 1:], topk_probs=probs, end=head["end"]
    )
    return CaptionAnswer([head["caption"]], sure, steps=steps)
