"""Equation 1 against its naive forms."""

import math

import pytest
import torch

from kcm_lightning.core.confidence import Temperatures, caption_confidence, probabilities, tempered
from kcm_lightning.core.routing import keeps
from kcm_lightning.utils.errors import InputError


def test_confidence_is_not_rounded_to_one_in_half_precision():
    logits = torch.tensor([[12.0, 0.0]], dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        confidence = probabilities(logits).amax(-1)
    assert confidence.dtype == torch.float32 and 0.99999 < confidence.item() < 1
    assert not keeps(confidence, 0.999999).item()
    torch.testing.assert_close(
        probabilities(torch.tensor([[2.0, 0.0]]), 2.0), torch.tensor([[1.0, 0.0]]).softmax(-1)
    )


@pytest.mark.parametrize(
    ("kind", "naive"),
    [
        ("geometric_mean", lambda p: math.prod(p) ** (1 / len(p))),
        ("mean", lambda p: sum(p) / len(p)),
        ("minimum", min),
    ],
)
def test_confidence_of_a_caption(kind, naive):
    said = [[0.5, 0.25, 0.9], [0.1], [1.0, 0.3]]
    log = torch.full((3, 4), float("-inf"))  # where nothing is said
    counted = torch.zeros(3, 4, dtype=torch.bool)
    for row, values in enumerate(said):
        log[row, : len(values)] = torch.tensor(values).log()
        counted[row, : len(values)] = True
    wanted = torch.tensor([naive(values) for values in said])
    torch.testing.assert_close(caption_confidence(log, counted, kind), wanted)


@pytest.mark.parametrize("value", [1e-300, 0.0, -1.0, 1e4, float("nan"), float("inf")])
def test_a_temperature_that_would_make_nan_of_a_confidence_is_refused(value):
    with pytest.raises(InputError, match="temperature student="):
        Temperatures(student=value)


@pytest.mark.parametrize("value", [1e-3, 1e3])
def test_no_temperature_that_is_allowed_makes_nan(value):
    """Logits as large as a trained network's can be, and probabilities of which one is 1."""
    logits = torch.tensor([[1e6, -1e6, 0.0], [50.0, 49.0, 48.0]])
    assert probabilities(logits, value).isfinite().all()
    given = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.3, 0.2]])
    wanted = given.double().clamp_min(1e-38) ** (1 / value)
    torch.testing.assert_close(tempered(given, value).double()[1], (wanted / wanted.sum(1, keepdim=True))[1])
    assert tempered(given, value).isfinite().all()
