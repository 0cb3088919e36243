"""What a large model is that answers in captions."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.core.predictions import Prediction, Query, take
from kcm_lightning.large.base import LargeModel

TOP_K = 20  # tokens of each position that a student is taught


@dataclass
class TokenSteps:
    """Captions token by token, and what else the model found probable at each position.

    Args:
        tokens: numbers of the model's tokenizer, each caption with its end, then -1, shape `(B, L)`.
        topk_tokens: the K most probable tokens of each position, shape `(B, L, K)`.
        topk_probs: their probabilities, float32, shape `(B, L, K)`.
        end: the token that ends a caption.
    """

    tokens: Tensor
    topk_tokens: Tensor
    topk_probs: Tensor
    end: int


@dataclass
class CaptionAnswer(Prediction):
    """Captions of a batch; None, with confidence NaN, where there is no answer.

    Args:
        prediction: B captions.
        confidence: see `Prediction`.
        steps: how the captions came about, where the model can say it.
    """

    steps: TokenSteps | None = None

    def rows(self, rows: Tensor) -> "CaptionAnswer":
        """The answers at some rows, indices of shape `(R,)`."""
        steps, own = self.steps, rows.to(self.confidence.device)
        if steps is not None:
            columns = steps.tokens[own], steps.topk_tokens[own], steps.topk_probs[own]
            steps = TokenSteps(*columns, end=steps.end)
        return CaptionAnswer(take(self.prediction, rows), self.confidence[own], steps=steps)


class LargeCaptioner(LargeModel):
    """A large model that gives captions.

    Attributes:
        tokenizer: a Hugging Face tokenizer, whose tokens `TokenSteps` are of; None where there are no steps.
    """

    tokenizer: Any = None

    @abstractmethod
    def caption(self, query: Query, *, with_steps: bool = False) -> CaptionAnswer:
        """Captions of images.

        Where the query's purpose is to teach (`Purpose.FIT`), a missing answer is no error.

        Args:
            query: paths of the images; as hint the small model's captions and confidences (equation 2), which
                models without a prompt ignore.
            with_steps: whether to say how the captions came about, where the model can.
        """

    def answer(self, query: Query, temperature: float = 1.0) -> CaptionAnswer:
        """The captions; their confidence is not divided by the temperature."""
        return self.caption(query)


def join(parts: list[CaptionAnswer]) -> CaptionAnswer:
    """The answers to several batches as one, steps padded to the longest caption."""
    captions = [caption for part in parts for caption in part.prediction]
    confidence = torch.cat([part.confidence for part in parts])
    steps = [part.steps for part in parts if part.steps is not None]
    if len(steps) < len(parts):
        return CaptionAnswer(captions, confidence)
    length = max(own.tokens.shape[1] for own in steps)

    def padded(values: Tensor, filling: float) -> Tensor:
        missing = length - values.shape[1]
        return torch.cat([values, values.new_full((len(values), missing, *values.shape[2:]), filling)], dim=1)

    return CaptionAnswer(
        captions,
        confidence,
        steps=TokenSteps(
            tokens=torch.cat([padded(own.tokens, -1) for own in steps]),
            topk_tokens=torch.cat([padded(own.topk_tokens, -1) for own in steps]),
            topk_probs=torch.cat([padded(own.topk_probs, 0) for own in steps]),
            end=steps[0].end,
        ),
    )
