"""A logistic regression as plain numbers, which a configuration can hold."""

from dataclasses import astuple, dataclass

from torch import Tensor


@dataclass
class Regression:
    """Weights of features, each a field after the intercept, in their order.

    Args:
        intercept: added to the weighted features.
    """

    intercept: float = 0.0

    def score(self, features: Tensor) -> Tensor:
        """Probability of the event that the weights were fitted on, float32, shape `(B,)`.

        Args:
            features: shape `(B, F)`.
        """
        intercept, *weights = astuple(self)
        return (intercept + features.double() @ features.new_tensor(weights).double()).sigmoid().float()
