"""Equation 1 against its naive forms."""

import math

import pytest
import torch

from kcm_lightning.core.confidence import caption_confidence, probabilities
from kcm_lightning.core.routing import keeps


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
