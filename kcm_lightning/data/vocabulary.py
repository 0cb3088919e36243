"""What a captioner can say: the words of the training captions, or the large model's tokens that they use."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.words import END, UNKNOWN, words_of

_SPECIAL = 4


@dataclass
class Vocabulary:
    """Numbers of words or tokens; 0 is padding, 1 begins a caption, 2 ends it, 3 is what is not known.

    Args:
        units: what each number from 4 on stands for: a word, or a number of the large model's tokenizer.
        tokenizer: the large model's; None for words.
    """

    units: list[Any]
    tokenizer: Any = None

    def __post_init__(self):
        self._numbers = {unit: number for number, unit in enumerate(self.units, _SPECIAL)}

    def __len__(self) -> int:
        return len(self.units) + _SPECIAL

    @classmethod
    def of(cls, captions: Iterable[str], tokenizer: Any = None, min_count: int = 1) -> "Vocabulary":
        """The vocabulary of some captions.

        Args:
            captions: of the training split.
            tokenizer: a Hugging Face tokenizer; None for words.
            min_count: how often a unit must occur.
        """
        counts = Counter(unit for caption in captions for unit in _units(caption, tokenizer))
        return cls(sorted(unit for unit, count in counts.items() if count >= min_count), tokenizer)

    def encode(self, caption: str, longest: int) -> list[int]:
        """Numbers of a caption with its end, cut to `longest` of them."""
        numbers = [self._numbers.get(unit, UNKNOWN) for unit in _units(caption, self.tokenizer)]
        return [*numbers[: longest - 1], END]

    def decode(self, numbers: Sequence[int]) -> str:
        """The caption that numbers stand for, up to the first end."""
        units = []
        for number in numbers:
            if number == END:
                break
            if number >= _SPECIAL:
                units.append(self.units[number - _SPECIAL])
        return " ".join(units) if self.tokenizer is None else self.tokenizer.decode(units, skip_special_tokens=True).strip()

    def gather(self, distribution: Tensor, end: int) -> Tensor:
        """A large model's distribution over its tokens, on this vocabulary and renormalised.

        Args:
            distribution: over the large model's tokens, shape `(..., tokens)`.
            end: the large model's token that ends a text.

        Returns:
            Shape `(..., len(self))`; padding, begin and unknown have probability 0.
        """
        result = distribution.new_zeros(*distribution.shape[:-1], len(self))
        result[..., END] = distribution[..., end]
        result[..., _SPECIAL:] = distribution[..., torch.tensor(self.units, device=distribution.device)]
        return result / result.sum(-1, keepdim=True).clamp_min(torch.finfo(result.dtype).tiny)


def _units(caption: str, tokenizer: Any) -> list[Any]:
    if tokenizer is None:
        return words_of(caption)
    return tokenizer(" ".join(caption.split()), add_special_tokens=False)["input_ids"]
