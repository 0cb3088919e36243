"""The basis against a naive recursion, SciPy and pykan."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from kcm_lightning.kan import spline
from kcm_lightning.kan.spline import bspline_basis, expand

GRIDS = [(3, 1), (5, 2), (5, 3), (16, 3), (4, 4), (5, 0)]


def ends(low: float, high: float, channels: int = 1, dtype=torch.float64):
    return torch.full((channels,), low, dtype=dtype), torch.full((channels,), high, dtype=dtype)


def cox_de_boor(x: float, i: int, order: int, knots: list[float]) -> float:
    if order == 0:
        return float(knots[i] <= x < knots[i + 1])
    rising = (x - knots[i]) / (knots[i + order] - knots[i]) * cox_de_boor(x, i, order - 1, knots)
    falling = (
        (knots[i + order + 1] - x)
        / (knots[i + order + 1] - knots[i + 1])
        * cox_de_boor(x, i + 1, order - 1, knots)
    )
    return rising + falling


@pytest.mark.parametrize("grid, order", GRIDS)
def test_equals_naive_recursion_and_scipy(grid, order):
    low, high = -1.5, 2.0
    step = (high - low) / grid
    knots = [low + step * i for i in range(-order, grid + order + 1)]
    x = torch.linspace(low, high - 1e-6, 60, dtype=torch.float64)
    naive = torch.tensor(
        [[cox_de_boor(v, i, order, knots) for i in range(grid + order)] for v in x.tolist()], dtype=x.dtype
    )
    library = BSpline.design_matrix(x.numpy(), np.array(knots), order).toarray()
    for dtype, atol in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        ours = bspline_basis(x.to(dtype).unsqueeze(-1), *ends(low, high, dtype=dtype), grid, order).squeeze(
            -1
        )
        torch.testing.assert_close(ours.double(), naive, atol=atol, rtol=0)
        torch.testing.assert_close(ours.double(), torch.from_numpy(library), atol=atol, rtol=0)


def test_equals_pykan():
    pykan = pytest.importorskip("kan.spline", reason="pykan is a development dependency")
    x = torch.linspace(-0.999, 0.999, 200)
    step = 2 / 5
    knots = torch.arange(-3, 5 + 4) * step - 1
    theirs = pykan.B_batch(x.unsqueeze(-1), knots.unsqueeze(0), k=3).squeeze(1)
    ours = bspline_basis(x.unsqueeze(-1), *ends(-1, 1, dtype=torch.float32), 5, 3).squeeze(-1)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("grid, order", GRIDS)
def test_partition_of_unity_everywhere_and_constant_outside(grid, order):
    x = (
        torch.tensor([-1e4, -3.0, -2.0, 0.3, 2.0, 3.0, 1e4], dtype=torch.float64)
        .unsqueeze(-1)
        .requires_grad_()
    )
    basis = bspline_basis(x, *ends(-2, 2), grid, order)
    torch.testing.assert_close(basis.sum(-2), torch.ones_like(x))
    torch.testing.assert_close(basis[0], basis[2])
    torch.testing.assert_close(basis[-1], basis[-3])
    weights = torch.randn(basis.shape[-2:], dtype=torch.float64)
    (gradient,) = torch.autograd.grad((basis * weights).sum(), x)
    assert gradient[[0, 1, -2, -1]].abs().max() == 0


@pytest.mark.parametrize("grid, order", [(5, 2), (5, 3), (3, 4)])
def test_gradcheck(grid, order):
    low, high = ends(-2, 2, 3)
    x = torch.randn(20, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: expand(v, low, high, grid, order, v.dtype), x)


@pytest.mark.parametrize("grid, order", GRIDS)
def test_both_formulations_agree(grid, order):
    low, high = ends(-2, 2, 3)
    x = torch.randn(200, 3, dtype=torch.float64) * 1.5
    exact, clamped, _ = spline._to_grid(x, low, high, grid)
    local = spline._local(exact, clamped, grid, order, x.dtype)
    torch.testing.assert_close(spline._closed(exact, clamped, grid, order, x.dtype), local)
    gradient = torch.randn_like(local)
    torch.testing.assert_close(
        spline._closed_gradient(clamped, gradient, grid, order),
        spline._local_gradient(clamped, gradient, grid, order),
    )


@pytest.mark.parametrize("dtype, error", [(torch.float16, 5e-4), (torch.bfloat16, 4e-3)])
def test_half_precision_rounds_once(dtype, error):
    """Inputs are what they are in half precision; the basis of them is exact up to one rounding of the
    result."""
    x = torch.cat([torch.randn(500, 2) * 2, torch.tensor([[1e4, -1e4]])]).to(dtype)
    half = expand(x, *ends(-2, 2, 2, torch.float32), 5, 3, dtype)
    exact = expand(x.double(), *ends(-2, 2, 2), 5, 3, torch.float64)
    assert half.dtype == dtype and torch.isfinite(half).all()
    torch.testing.assert_close(half[..., :8, :].double(), exact[..., :8, :], atol=error, rtol=0)


def test_nan_comes_out_as_nan_of_its_own_channel_alone():
    x = torch.tensor([[float("nan"), 0.5], [0.1, 0.2]], requires_grad=True)
    basis = bspline_basis(x, *ends(-2, 2, 2, torch.float32), 5, 3)
    assert (
        basis[0, :, 0].isnan().any()
        and torch.isfinite(basis[0, :, 1]).all()
        and torch.isfinite(basis[1]).all()
    )
