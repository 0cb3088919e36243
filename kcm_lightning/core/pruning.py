"""MCM's "prompt pruning": classes that one model leaves to the others."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor


@dataclass
class Pruning:
    """Classes that the student leaves to the others at inference.

    Args:
        classes: class indices, from 0.
        how: "mask" takes the classes out; "zero" sets their logits to 0, as Data Shunt's code does, which
            raises those that were negative.
    """

    classes: list[int]
    how: Literal["mask", "zero"] = "mask"

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits with the classes pruned, shape `(..., V)`."""
        result = logits.clone()
        result[..., self.classes] = float("-inf") if self.how == "mask" else 0.0
        return result


def pruned(logits: Tensor, pruning: Pruning | None) -> Tensor:
    """Logits with classes pruned, where any are; shape `(..., V)`.

    >>> import torch
    >>> pruned(torch.tensor([3.0, 1.0]), Pruning(classes=[0])).tolist()
    [-inf, 1.0]
    """
    return logits if pruning is None else pruning(logits)


def without_classes(probabilities: Tensor, classes: list[int]) -> Tensor:
    """Probabilities of the other classes, renormalized, for prompts that state none of the pruned ones.

    Args:
        probabilities: shape `(B, V)`.
        classes: indices of the classes that are left out.

    Returns:
        Shape `(B, V)`, 0 at the classes left out.

    >>> import torch
    >>> without_classes(torch.tensor([[0.5, 0.25, 0.25]]), [0]).tolist()
    [[0.0, 0.5, 0.5]]
    """
    if not classes:
        return probabilities
    kept = probabilities.clone()
    kept[:, classes] = 0
    return kept / kept.sum(-1, keepdim=True).clamp_min(1e-12)
