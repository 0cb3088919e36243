"""What every large model is to the rest of the project."""

import json
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from kcm_lightning.core.confidence import most_probable, tempered
from kcm_lightning.core.predictions import NO_ANSWER, Prediction, Query

Kind = Literal["texts", "images"]


class LargeModel(ABC):
    """A frozen large model. Its two kinds are `LargeClassifier` and `LargeCaptioner`.

    Deliberately no `nn.Module`: nothing of it can get into the optimizer, the checkpoint or train mode of the
    module that holds it. Its constructor only stores what it is given; `load` fetches the weights.

    Attributes:
        paid: whether a call costs money. The comparison columns of `test` are off by default where it does.
        uses_hint: whether a hint changes the answer.
        keeps_own_answers: whether it stores its answers itself, so that it needs no cache.
        reads: "texts" or "images", which it is asked about; None for anything.
        latest_costs: money that each answer of the latest query has cost; None where none costs any.
    """

    paid: bool = False
    uses_hint: bool = False
    keeps_own_answers: bool = False
    reads: Kind | None = None
    latest_costs: list[float] | None = None

    @abstractmethod
    def load(self, class_names: list[str], device: torch.device) -> None:
        """Fetches the weights, once, and checks that the model fits the data.

        Args:
            class_names: the data's classes, in the order of its labels; empty for captions.
            device: where to put the model.

        Raises:
            InputError: the model cannot be had, or its classes are not the data's.
        """

    @property
    @abstractmethod
    def identity(self) -> str:
        """Text that differs between models, weights and prompt templates that could answer differently.

        The cache, which adds class names, inputs and hints, takes answers under one identity for equal. It is
        asked for after `load`.
        """

    @abstractmethod
    def answer(self, query: Query, temperature: float = 1.0) -> Prediction:
        """The model's answers and its confidence in each.

        Args:
            query: the samples, and what they are asked for.
            temperature: divisor of the model's logits; captions have none.
        """

    def check_before_fit(self) -> None:
        """Says before the long work of `fit` what would stop it later.

        Raises:
            InputError: the model could not be asked.
        """
        return

    def usage(self) -> dict:
        """What asking has cost so far; empty for a model that costs nothing but time."""
        return {}

    def prompt_keys(self, query: Query) -> list[bytes]:
        """What the hint changes in the prompt of each sample: the cache's key beside the input.

        By default the whole hint, where the model uses hints.
        """
        hint = query.hint
        if hint is None or not self.uses_hint:
            return [b""] * len(query)
        if isinstance(hint, Tensor):
            return [row.float().cpu().numpy().tobytes() for row in hint]
        pairs = zip(hint.prediction, hint.confidence.tolist(), strict=True)
        return [json.dumps(pair).encode() for pair in pairs]


class LargeClassifier(LargeModel):
    """A large model that gives probabilities of the data's classes."""

    @abstractmethod
    def distribution(self, query: Query) -> Tensor:
        """Probabilities of the data's classes.

        A sample that the model has no answer to is a row of NaN where the query's purpose is to teach
        (`Purpose.FIT`), and an error where it is to answer. A paid model asks no more in `fit` than it may
        spend there.

        Args:
            query: the samples, and what they are asked for; models without a prompt ignore its hint.

        Returns:
            Shape `(B, 1, V)`, float32: a class label is a caption of length 1.
        """

    def answer(self, query: Query, temperature: float = 1.0) -> Prediction:
        """The most probable class of each sample, and as confidence its probability (equation 3)."""
        distribution = tempered(self.distribution(query)[:, 0].float(), temperature)
        confidence, prediction = most_probable(distribution)
        prediction[confidence.isnan()] = NO_ANSWER
        return Prediction(prediction, confidence, distribution)


def spread(labels: Tensor, confidences: Tensor, classes: int) -> Tensor:
    """Distributions of a model that names one class: its confidence there, the rest evenly over the others.

    Args:
        labels: class indices, negative where there is no answer, shape `(B,)`.
        confidences: fractions in [0, 1], shape `(B,)`; raised to just above an even share, so that the class
            stays on top.
        classes: number of classes.

    Returns:
        Shape `(B, 1, V)`, float32; NaN where there is no answer.
    """
    sure = confidences.float().clamp(min=1 / classes + 1e-4, max=1.0).unsqueeze(1)
    result = ((1 - sure) / max(1, classes - 1)).expand(-1, classes).clone()
    result.scatter_(1, labels.clamp_min(0).unsqueeze(1), sure)
    result[labels < 0] = float("nan")
    return result.unsqueeze(1)
