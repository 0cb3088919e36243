"""What thresholds are chosen for."""

import sys
from dataclasses import dataclass, field
from typing import TypeVar

from torch import Tensor

from kcm_lightning.metrics.image_scores import HIGHEST_CIDER
from kcm_lightning.utils.errors import InputError

_MEASURES = {
    "accuracy": "accuracy",
    "accuracy_drop": "accuracy",
    "bleu_drop": "BLEU-4",
    "cider_drop": "CIDEr",
}
QUALITIES = tuple(_MEASURES)
Amount = TypeVar("Amount", float, Tensor)
_SPENDING = ("cost", "seconds", "flops")


@dataclass
class Prices:
    """What a sample costs, in the unit of a target.

    Args:
        judge: of the judge, which sees each.
        student: of the student, which sees those that the judge passes on.
        large: of the large model, which sees those that are routed to it.
    """

    judge: float
    student: float
    large: float

    def spent(self, asked: Amount, lm_rate: Amount) -> Amount:
        """What a sample costs on average.

        Args:
            asked: share of the samples that the student sees.
            lm_rate: share that the large model is called for.

        >>> Prices(judge=1.0, student=2.0, large=10.0).spent(0.5, 0.25)
        4.5
        """
        return self.judge + self.student * asked + self.large * lm_rate


@dataclass
class Target:
    """What thresholds are chosen for.

    Args:
        kind: "lm_rate", call the large model for at most this share of the samples; "cost" (money for 1,000
            samples), "seconds" (for 1,000 samples) or "flops" (for a sample), call it as often as this
            allows; "accuracy", call it as seldom as this accuracy allows; or "accuracy_drop", "bleu_drop" (of
            BLEU-4) or "cider_drop", call it as seldom as a quality within this of the large model's allows.
        value: a fraction in [0, 1]; of what is spent, a number above 0.
        prices: of what is spent: what each model costs.
    """

    kind: str
    value: float
    prices: Prices | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Reads `lm_rate=0.75`, `accuracy_drop=0.005`, ...

        Raises:
            InputError: it is none of them.

        >>> Target.parse("lm_rate=0.6")
        Target(kind='lm_rate', value=0.6)
        """
        kind, _, value = text.partition("=")
        try:
            target = cls(kind.strip(), float(value))
        except ValueError:
            target = cls("", 0.0)
        most = sys.float_info.max if target.is_spending else 1.0
        if target.kind not in ("lm_rate", *QUALITIES, *_SPENDING) or not 0 <= target.value <= most:
            known, spent = ("=X, ".join(names) for names in (("lm_rate", *QUALITIES), _SPENDING))
            raise InputError(
                f"target {text!r} is none of {known}=X with X from 0 to 1, {spent}=X with X from 0"
            )
        return target

    def __str__(self) -> str:
        """As the command line takes it, each target in one spelling.

        >>> str(Target.parse("lm_rate=.30")), str(Target.parse("lm_rate=1"))
        ('lm_rate=0.3', 'lm_rate=1')
        """
        return f"{self.kind}={self.value:.12g}"

    @property
    def is_quality(self) -> bool:
        """Whether it limits what is lost, not what is spent."""
        return self.kind in QUALITIES

    @property
    def is_spending(self) -> bool:
        """Whether it limits money, time or arithmetic, of which an LM rate follows."""
        return self.kind in _SPENDING

    @property
    def is_drop(self) -> bool:
        """Whether it compares with the large model."""
        return self.kind.endswith("_drop")

    @property
    def measure(self) -> str:
        """The quality that it is about."""
        return _MEASURES[self.kind]

    @property
    def limit(self) -> float:
        """Mean of the losses, see `ValidationAnswers.losses`, that it allows.

        >>> round(Target.parse("accuracy=0.9").limit, 2), Target.parse("cider_drop=0.1").limit
        (0.1, 0.01)
        """
        if not self.is_drop:
            return 1 - self.value
        return self.value / HIGHEST_CIDER if self.measure == "CIDEr" else self.value
