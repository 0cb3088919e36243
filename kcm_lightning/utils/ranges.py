"""The one rule for numbers among the options: finite, and within the range that the option states."""

import math
from numbers import Real

from kcm_lightning.utils.errors import InputError

# of a temperature: what `calibrate` fits lies within [0.05, 20]; far outside, logits divided by one are
# infinite in float32, or all the same
COLDEST, HOTTEST = 1e-3, 1e3


def check_number(option: str, value: float, low: float = -math.inf, high: float = math.inf) -> None:
    """Refuses NaN, infinity, and what lies outside `[low, high]`.

    Args:
        option: its name, for the error.
        value: what was given.
        low: the least that it may be.
        high: the most that it may be.

    Raises:
        InputError: it is none of the numbers allowed.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise InputError(f"{option}={value} must be a finite number")
    if not low <= value <= high:
        allowed = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise InputError(f"{option}={value} must be {allowed}")


def check_temperature(option: str, value: float) -> None:
    """Refuses a temperature outside [0.001, 1000].

    Args:
        option: its name, for the error.
        value: what logits are divided by.

    Raises:
        InputError: it lies outside.
    """
    check_number(option, value, COLDEST, HOTTEST)
