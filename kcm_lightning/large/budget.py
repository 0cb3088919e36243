"""What paid calls may cost, and what they have cost."""

import math
from dataclasses import dataclass, fields

from kcm_lightning.utils.errors import InputError


@dataclass
class Prices:
    """What tokens cost, in one currency.

    Args:
        input: price of a million tokens sent; 0 by default.
        output: price of a million tokens received; 0 by default.
        currency: the money that prices and budgets are in; it is printed beside every sum, and "USD" by
            default.
    """

    input: float = 0.0
    output: float = 0.0
    currency: str = "USD"

    def __post_init__(self) -> None:
        for name in ("input", "output"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"a price of {getattr(self, name)} for a million tokens is none: 0 or more")
        if not self.currency.strip():
            raise InputError("prices have a currency, for instance USD")

    def of(self, cost: "Cost") -> float:
        """The price of some tokens."""
        return (self.input * cost.tokens_in + self.output * cost.tokens_out) / 1e6


@dataclass
class Cost:
    """What calls have cost.

    Args:
        requests: requests that were sent.
        tokens_in: tokens sent.
        tokens_out: tokens received.
        money: price of the tokens, at the prices of their time.
    """

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    money: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass
class Budget:
    """A hard limit; null is none.

    Args:
        calls: most requests that may be sent, those included that failed and were sent again; null is no
            limit.
        tokens: most tokens that may be sent and received, added up; null is no limit.
        money: most that may be spent, in the currency of the prices; null is no limit.
    """

    calls: int | None = None
    tokens: int | None = None
    money: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 <= value < math.inf:
                raise InputError(f"a budget of {value} {field.name} is none: 0 or more, or null for no limit")

    def exceeded_by(self, cost: Cost) -> str | None:
        """Name of the first limit that is exceeded; None where none is."""
        spent = {"calls": cost.requests, "tokens": cost.tokens_in + cost.tokens_out, "money": cost.money}
        limits = {name: getattr(self, name) for name in spent}
        return next(
            (name for name, limit in limits.items() if limit is not None and spent[name] > limit), None
        )

    def grants_nothing_of(self) -> str | None:
        """Name of a limit that is 0; None where some call may be allowed."""
        return next((field.name for field in fields(self) if getattr(self, field.name) == 0), None)


class BudgetSpent(Exception):
    """The next call could exceed a limit, whose name this holds."""
