"""What every large model is to the rest of the project."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.gating import tempered


@dataclass
class Answer:
    """What a model says of a batch.

    Args:
        prediction: class indices of shape `(B,)`, or B texts.
        confidence: fractions in [0, 1], float32, shape `(B,)`.
    """

    prediction: Tensor | list[str]
    confidence: Tensor


class LargeModel(ABC):
    """A frozen large model.

    Deliberately no `nn.Module`: nothing of it can get into the optimiser, the checkpoint or train mode of the
    module that holds it. Its constructor only stores what it is given; `load` fetches the weights.

    Attributes:
        paid: whether a call costs money. The comparison columns of `test` are off by default where it does.
        uses_hint: whether a hint changes the answer.
    """

    paid = False
    uses_hint = False

    @abstractmethod
    def load(self, class_names: list[str], device: torch.device) -> None:
        """Fetches the weights, once, and checks that the model fits the data.

        Args:
            class_names: the data's classes, in the order of its labels.
            device: where to put the model.

        Raises:
            InputError: the model cannot be had, or its classes are not the data's.
        """

    @property
    @abstractmethod
    def identity(self) -> str:
        """Text that differs between models, weights and prompt templates that could answer differently."""

    @abstractmethod
    def distribution(self, inputs: Any, hint: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        """Probabilities over what the small model can say.

        Args:
            inputs: un-augmented inputs of B samples, as the data module's `large` holds them.
            hint: the small model's probabilities (equation 2), shape `(B, V)`; ignored by models without a prompt.
            samples: stable places of the samples in the data set, shape `(B,)`; only a cache reads them.

        Returns:
            Shape `(B, L, V)`, float32; L = 1 for a classifier.
        """

    def answer(self, inputs: Any, hint: Tensor | None = None, samples: Tensor | None = None, temperature: float = 1.0) -> Answer:
        """The model's answers and its confidences in them.

        Args:
            inputs, hint, samples: as of `distribution`.
            temperature: divisor of the model's logits.
        """
        confidence, prediction = tempered(self.distribution(inputs, hint, samples)[:, 0], temperature).max(-1)
        return Answer(prediction, confidence)

    def prompt_keys(self, hint: Tensor | None, size: int) -> list[bytes]:
        """What the hint changes in the prompt of each of `size` samples; the cache's key beside the sample."""
        return [b""] * size
