"""A twin is as large, or as slow, as its CKAN."""

import pytest
import torch

from kcm_lightning.small import CKAN, cnn_twin
from kcm_lightning.small.twin import _parameters, _step_time


def test_equal_parameters():
    kan = CKAN(100, width=32, depths=(1, 2, 2), grid=5, order=3)
    twin = cnn_twin(kan, "parameters")
    assert abs(_parameters(twin) / _parameters(kan) - 1) < 0.06
    assert twin(torch.randn(2, 3, 32, 32)).shape == (2, 100)


@pytest.mark.slow
def test_equal_step_time():
    """Within the noise of a machine that does other things: best of three."""
    kan, images = CKAN(10, width=16, depths=(1, 1)), torch.randn(16, 3, 16, 16)
    ratios = []
    for _ in range(3):
        twin = cnn_twin(kan, "step_time", image_size=16, batch=16)
        ratios.append(_step_time(twin, images) / _step_time(kan, images))
    assert min(abs(ratio - 1) for ratio in ratios) < 0.3, ratios
