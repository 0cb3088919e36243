"""The rule for numbers: finite, and within what the option states."""

import numpy as np
import pytest

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.ranges import check_number, check_temperature


def test_numbers_within_are_taken():
    for value in (0.001, 1, 1.0, np.float32(20), 1000):
        check_temperature("--model.distill_temperature", value)
    check_number("--x", -1e300)


@pytest.mark.parametrize(
    "value", [1e-300, 0, -1.0, 0.00099, 1001, float("nan"), float("inf"), True, "1.0", None]
)
def test_what_would_make_nan_is_refused_in_a_line(value):
    with pytest.raises(InputError, match=r"--x=.* must be (from 0\.001 to 1000|a finite number)") as found:
        check_temperature("--x", value)
    assert str(value) in str(found.value)


def test_an_open_end_is_said():
    with pytest.raises(InputError, match="lr=-1 must be at least 0"):
        check_number("lr", -1, low=0)
