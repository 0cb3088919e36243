"""What thresholds are chosen for."""

from dataclasses import dataclass

from kcm_lightning.utils.errors import InputError

MEASURES = {"accuracy_drop": "accuracy", "bleu_drop": "BLEU-4", "cider_drop": "CIDEr"}


@dataclass
class Target:
    """What thresholds are chosen for.

    Args:
        kind: "lm_rate", call the large model for at most this share of the samples; or "accuracy_drop",
            "bleu_drop" (of BLEU-4) or "cider_drop", call it as seldom as a quality within this of the large
            model's allows.
        value: a fraction in [0, 1].
    """

    kind: str
    value: float

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
        if target.kind not in ("lm_rate", *MEASURES) or not 0 <= target.value <= 1:
            known = "=X, ".join(MEASURES)
            raise InputError(f"target {text!r} is none of lm_rate=X, {known}=X with X from 0 to 1")
        return target

    def __str__(self) -> str:
        """As the command line takes it, each target in one spelling.

        >>> str(Target.parse("lm_rate=.30")), str(Target.parse("lm_rate=1"))
        ('lm_rate=0.3', 'lm_rate=1')
        """
        return f"{self.kind}={self.value:.12g}"

    @property
    def measure(self) -> str | None:
        """What must not drop; None for an LM rate."""
        return MEASURES.get(self.kind)
