"""A large model that teaches rare classes more: its probabilities are divided by a power of the class counts.

So each class gets more of the same mean probability over a long-tailed training split, as long-tailed
distillation (LTKD) does it for groups of classes. It is for sweeps/cifar_lt_teaching.yaml alone: what answers
in `test` is the model as it is.
"""

import torch
from torch import Tensor

from kcm_lightning.core.predictions import Query
from kcm_lightning.data.longtail import class_counts
from kcm_lightning.large import ImageClassifier


class Rebalanced(ImageClassifier):
    """An image classifier whose probabilities are `p / n ** power`, normalized.

    Args:
        name: see `ImageClassifier`.
        power: 0 changes nothing; 1 takes out all of the class counts.
        profile: of CIFAR-100-LT, which gives the class counts `n`.
    """

    def __init__(self, name: str, power: float = 0.5, profile: str = "if100"):
        super().__init__(name)
        self.power, self.profile = power, profile

    @property
    def identity(self) -> str:
        return f"Rebalanced {self.power} {self.profile} {super().identity}"

    def distribution(self, query: Query) -> Tensor:
        probabilities = super().distribution(query)
        counts = torch.tensor(class_counts(self.profile), device=probabilities.device)
        lifted = probabilities / counts**self.power
        return lifted / lifted.sum(-1, keepdim=True)
