"""What a compiled layer computes and learns is what the eager one does."""

import copy
import shutil

import pytest
import torch

from kcm_lightning.kan import KANConv2d


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.slow
def test_compiled_convolution_trains_as_the_eager_one(order):
    torch.manual_seed(0)
    eager = KANConv2d(4, 6, 3, padding=1, grid=4, order=order, spline_scale=1.0)
    compiled = copy.deepcopy(eager)
    compiled.compile()
    x = torch.randn(2, 4, 5, 5) * 2  # some of it off the grid
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    weight = torch.randn(2, 6, 5, 5)
    outputs = [layer(own) for layer, own in zip((eager, compiled), inputs, strict=True)]
    for output in outputs:
        (output * weight).sum().backward()
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, atol=1e-4, rtol=1e-4)
    for one, other in zip(compiled.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4)
