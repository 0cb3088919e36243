"""What paid calls may cost, and what they have cost."""

from dataclasses import dataclass, fields

from kcm_lightning.errors import InputError


@dataclass
class Prices:
    """What tokens cost, in any one currency.

    Args:
        input: of a million tokens sent.
        output: of a million tokens received.
    """

    input: float = 0.0
    output: float = 0.0

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """The price of some tokens."""
        return (self.input * tokens_in + self.output * tokens_out) / 1e6


@dataclass
class Budget:
    """A hard limit; null is none.

    Args:
        calls: requests sent, those included that failed and were sent again.
        tokens: sent and received.
        money: in the currency of the prices.
    """

    calls: int | None = None
    tokens: int | None = None
    money: float | None = None

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 0:
                raise InputError(f"a budget of {value} {field.name} is below 0")

    def exceeded_by(self, calls: int, tokens: int, money: float) -> str | None:
        """Name of the first limit that is exceeded; None where none is."""
        spent = {"calls": calls, "tokens": tokens, "money": money}
        return next((name for name, value in spent.items() if (limit := getattr(self, name)) is not None and value > limit), None)


class BudgetSpent(Exception):
    """The next call could exceed a limit."""
