"""What every large model is to the rest of the project."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.gating import tempered

NO_ANSWER = -2  # asked, but nothing came of it


def spread(labels: Tensor, confidences: Tensor, classes: int) -> Tensor:
    """Distributions of a model that says one class and how sure it is; the rest goes evenly to the other classes.

    Args:
        labels: class indices, negative where there is no answer, shape `(B,)`.
        confidences: fractions in [0, 1], shape `(B,)`; raised to just above an even share, so that the class stays on top.
        classes: how many there are.

    Returns:
        Shape `(B, 1, V)`, float32; NaN where there is no answer.
    """
    sure = confidences.float().clamp(min=1 / classes + 1e-4, max=1.0).unsqueeze(1)
    result = ((1 - sure) / max(1, classes - 1)).expand(-1, classes).clone()
    result.scatter_(1, labels.clamp_min(0).unsqueeze(1), sure)
    result[labels < 0] = float("nan")
    return result.unsqueeze(1)


@dataclass
class Answer:
    """What a model says of a batch.

    Args:
        prediction: class indices of shape `(B,)`, or B texts; `NO_ANSWER` where the model said nothing of use.
        confidence: fractions in [0, 1], float32, shape `(B,)`; NaN where there is no answer.
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

    def teach(self, inputs: Any, hint: Tensor | None = None, samples: Tensor | None = None) -> Tensor:
        """What a student is taught: as of `distribution`, but NaN for a sample that the model has no answer to.

        A model that must not be asked about everything says so here: one that is paid, beyond what `fit` may spend.
        """
        return self.distribution(inputs, hint, samples)

    def cached(self, folder: str, dataset: str) -> "LargeModel":
        """This model with its answers kept in a folder.

        Args:
            folder: made when missing.
            dataset: name of the data set that sample numbers refer to.
        """
        from kcm_lightning.large.cache import Cached

        return Cached(self, folder, dataset)

    def check_before_fit(self) -> None:
        """Says before the long work of `fit` what would stop it later.

        Raises:
            InputError: the model could not be asked.
        """
        return

    def usage(self) -> dict:
        """What asking has cost so far; empty for a model that costs nothing but time."""
        return {}

    def answer(
        self,
        inputs: Any,
        hint: Tensor | None = None,
        samples: Tensor | None = None,
        temperature: float = 1.0,
        in_fit: bool = False,
    ) -> Answer:
        """The model's answers and its confidences in them.

        Args:
            inputs, hint, samples: as of `distribution`.
            temperature: divisor of the model's logits.
            in_fit: ask as `teach` does, where a missing answer is no error.
        """
        ask = self.teach if in_fit else self.distribution
        confidence, prediction = tempered(ask(inputs, hint, samples)[:, 0], temperature).max(-1)
        prediction[confidence.isnan()] = NO_ANSWER
        return Answer(prediction, confidence)

    def prompt_keys(self, hint: Tensor | None, size: int) -> list[bytes]:
        """What the hint changes in the prompt of each of `size` samples; the cache's key beside the sample."""
        return [b""] * size
