"""What a large model is that answers in captions."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.large.base import Answer, LargeModel

CHOICES = 20  # tokens of each place that a student is taught


@dataclass
class Steps:
    """Captions token by token, and what else the model found probable at each place.

    Args:
        tokens: numbers of the model's tokenizer, each caption with its end, then -1, shape `(B, L)`.
        likely: the K most probable tokens of each place, shape `(B, L, K)`.
        probabilities: of these, float32, shape `(B, L, K)`.
        end: the token that ends a caption.
    """

    tokens: Tensor
    likely: Tensor
    probabilities: Tensor
    end: int


@dataclass
class CaptionAnswer(Answer):
    """Captions of a batch; None, with confidence NaN, where there is no answer.

    Args:
        prediction, confidence: as of `Answer`.
        steps: how the captions came about, where the model can say it.
    """

    steps: Steps | None = None

    def rows(self, rows: Tensor) -> "CaptionAnswer":
        """The answers at some rows."""
        steps, own = self.steps, rows.to(self.confidence.device)
        if steps is not None:
            steps = Steps(steps.tokens[own], steps.likely[own], steps.probabilities[own], steps.end)
        return CaptionAnswer([self.prediction[row] for row in rows.tolist()], self.confidence[own], steps)


class LargeCaptioner(LargeModel):
    """A frozen large model whose answers are captions. It has no distribution over classes.

    Attributes:
        tokenizer: a Hugging Face tokenizer, whose tokens `steps` are of; None where there are no steps.
    """

    tokenizer: Any = None

    @abstractmethod
    def caption(
        self, inputs: Sequence[str], hint: Answer | None, samples: Tensor | None, in_fit: bool, steps: bool
    ) -> CaptionAnswer:
        """Captions of pictures.

        Args:
            inputs: paths of B pictures.
            hint: the small model's captions and confidences (equation 2); ignored by models without a prompt.
            samples: stable places of the pictures, shape `(B,)`; only a cache reads them.
            in_fit: a missing answer is no error.
            steps: whether to say how the captions came about, where the model can.
        """

    def answer(
        self,
        inputs: Sequence[str],
        hint: Answer | None = None,
        samples: Tensor | None = None,
        temperature: float = 1.0,
        in_fit: bool = False,
    ) -> CaptionAnswer:
        """As `caption`; a caption's confidence is not divided by the temperature."""
        return self.caption(inputs, hint, samples, in_fit, steps=False)

    def teach_captions(self, inputs: Sequence[str], hint: Answer | None = None, samples: Tensor | None = None) -> CaptionAnswer:
        """What a student is taught: as `answer`, with `steps` where the model can say them."""
        return self.caption(inputs, hint, samples, in_fit=True, steps=True)

    def cached(self, folder: str, dataset: str) -> "LargeCaptioner":
        from kcm_lightning.large.caption_cache import CachedCaptions

        return CachedCaptions(self, folder, dataset)

    def distribution(self, inputs: Any, hint: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        raise NotImplementedError("a captioner has captions, not a distribution over classes")


def join(parts: list[CaptionAnswer]) -> CaptionAnswer:
    """The answers to several batches as one, steps padded to the longest."""
    captions = [caption for part in parts for caption in part.prediction]
    confidence = torch.cat([part.confidence for part in parts])
    if any(part.steps is None for part in parts):
        return CaptionAnswer(captions, confidence)
    longest = max(part.steps.tokens.shape[1] for part in parts)

    def padded(values: Tensor, filling: float) -> Tensor:
        short = longest - values.shape[1]
        return torch.cat([values, values.new_full((len(values), short, *values.shape[2:]), filling)], dim=1)

    tokens = torch.cat([padded(part.steps.tokens, -1) for part in parts])
    likely = torch.cat([padded(part.steps.likely, -1) for part in parts])
    probabilities = torch.cat([padded(part.steps.probabilities, 0) for part in parts])
    return CaptionAnswer(captions, confidence, Steps(tokens, likely, probabilities, parts[0].steps.end))
