"""What a captioner can say: the words of the training captions, or the large model's tokens that they use."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.utils.tokens import END, PADDING, UNKNOWN, words_of

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

    def __post_init__(self) -> None:
        self._numbers = {unit: number for number, unit in enumerate(self.units, _SPECIAL)}

    def __len__(self) -> int:
        return len(self.units) + _SPECIAL

    @classmethod
    def of(cls, captions: Iterable[str], tokenizer: Any = None, size: int | None = None) -> "Vocabulary":
        """The vocabulary of some captions.

        Args:
            captions: captions of the training split.
            tokenizer: a Hugging Face tokenizer; None for words.
            size: numbers in all; the most frequent units get one. None for all of them.
        """
        counts = Counter(unit for caption in captions for unit in _units(caption, tokenizer))
        kept = sorted(counts, key=lambda unit: (-counts[unit], unit))[
            : None if size is None else size - _SPECIAL
        ]
        return cls(sorted(kept), tokenizer)

    def encode(self, caption: str, max_length: int) -> list[int]:
        """Numbers of a caption with its end, cut to `max_length` of them."""
        numbers = [self._numbers.get(unit, UNKNOWN) for unit in _units(caption, self.tokenizer)]
        return [*numbers[: max_length - 1], END]

    def decode(self, numbers: Sequence[int]) -> str:
        """The caption that numbers stand for, up to the first end."""
        units = []
        for number in numbers:
            if number == END:
                break
            if number >= _SPECIAL:
                units.append(self.units[number - _SPECIAL])
        return (
            " ".join(units)
            if self.tokenizer is None
            else self.tokenizer.decode(units, skip_special_tokens=True).strip()
        )

    def gather(self, tokens: Tensor, probabilities: Tensor, end: int) -> Tensor:
        """A large model's distribution over its tokens, on this vocabulary and renormalized.

        Args:
            tokens: the large model's tokens that are probable (or all of them), shape `(..., K)`.
            probabilities: their probabilities, shape `(..., K)`.
            end: the large model's token that ends a text.

        Returns:
            Shape `(..., len(self))`; padding, begin and unknown have probability 0.
        """
        numbers = self.numbers(tokens, end)
        known = probabilities * (numbers > UNKNOWN).logical_or(numbers == END)
        result = probabilities.new_zeros(*probabilities.shape[:-1], len(self)).scatter_add_(
            -1, numbers, known
        )
        return result / result.sum(-1, keepdim=True).clamp_min(torch.finfo(result.dtype).tiny)

    def numbers(self, tokens: Tensor, end: int) -> Tensor:
        """Numbers of the large model's tokens, the same shape; negative tokens are padding.

        Args:
            tokens: token numbers, any shape.
            end: the large model's token that ends a text.
        """
        table = torch.full((max([end, int(tokens.max()), *self.units]) + 2,), UNKNOWN, device=tokens.device)
        table[torch.tensor(self.units, device=tokens.device)] = torch.arange(
            _SPECIAL, len(self), device=tokens.device
        )
        table[end], table[-1] = END, PADDING
        return table[tokens.clamp_min(-1)]


def _units(caption: str, tokenizer: Any) -> list[Any]:
    if tokenizer is None:
        return words_of(caption)
    return tokenizer(" ".join(caption.split()), add_special_tokens=False)["input_ids"]
