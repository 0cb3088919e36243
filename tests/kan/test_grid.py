"""A grid update leaves what the layer computes for the given data as it was."""

import copy

import pytest
import torch
from torch import Tensor

from kcm_lightning.kan import KANConv2d, KANLinear
from kcm_lightning.kan.grid import Grids, spread_of
from kcm_lightning.utils.errors import InputError

ROWS, CHANNELS = 2000, 6


def normal() -> Tensor:
    return torch.randn(ROWS, CHANNELS)


def one(channel: Tensor) -> Tensor:
    x = normal()
    x[:, 2] = channel
    return x


def sparse(share: float, scale: float = 1.0) -> Tensor:
    return torch.randn(ROWS) * scale * (torch.rand(ROWS) < share)


DATA = {
    "normal": normal,
    "narrow": lambda: normal() * 0.3,
    "a tenth of the grid": lambda: normal() * 0.05,
    "beyond the grid": lambda: normal() * 4 + 1,
    "to one side of the grid": lambda: normal() + 5,
    "constant": lambda: one(torch.tensor(0.7)),
    "constant beyond the grid": lambda: one(torch.tensor(30.0)),
    "constant at the end of the grid": lambda: one(torch.tensor(2.0)),
    "nearly constant": lambda: one(0.7 + 1e-6 * torch.randn(ROWS)),
    "all constant": lambda: torch.full((ROWS, CHANNELS), 0.7),
    "zeros": lambda: torch.zeros(ROWS, CHANNELS),
    "a single row": lambda: normal()[:1],
    "two rows": lambda: normal()[:2],
    "sparse": lambda: one(sparse(0.008)),
    "sparse and large": lambda: one(sparse(0.004, 10.0)),
    "a single value that is not 0": lambda: one(torch.eye(ROWS)[0]),
    "all sparse": lambda: normal() * (torch.rand(ROWS, CHANNELS) < 0.008),
    "half zeros": lambda: normal().relu(),
    "one-hot": lambda: torch.eye(CHANNELS)[torch.randint(0, CHANNELS, (ROWS,))],
    "rare one-hot": lambda: torch.eye(CHANNELS)[
        torch.multinomial(torch.tensor([400.0] + [1.0] * 5), ROWS, True)
    ],
    "binary": lambda: one((torch.rand(ROWS) < 0.005).float()),
    "two values": lambda: one(3.0 * (torch.rand(ROWS) < 0.5)),
    "ties": lambda: (normal() * 2).round(),
    "rows all the same": lambda: normal()[:1].repeat(50, 1),
    "tiny": lambda: normal() * 1e-6,
    "tiny beside large": lambda: normal() * torch.logspace(-6, 4, CHANNELS),
    "huge": lambda: normal() * 1e4,
    "heavy tails": lambda: normal() / torch.rand(ROWS, CHANNELS).clamp_min(1e-3),
    "one outlier": lambda: torch.cat([normal(), torch.full((1, CHANNELS), 1e4)]),
}
BASES = [{"grid": 3, "order": 1}, {"grid": 16, "order": 2}, {"order": 0}, {"grid": 1, "order": 4}]


def change(layer: KANLinear | KANConv2d, x: Tensor) -> float:
    """Of the outputs for the data by an update, at worst, in their standard deviations; in float64."""
    before = copy.deepcopy(layer).double()
    layer.update_grid(x)
    after = copy.deepcopy(layer).double()
    assert all(value.isfinite().all() for value in after.state_dict().values())
    assert (after.grid_low < after.grid_high).all()
    with torch.no_grad():
        old, new = (before.channels_last(own(x.double())).flatten(0, -2) for own in (before, after))
        assert layer(x).isfinite().all()
    changed, deviation = (new - old).abs(), old.std(0, correction=0)
    return (changed / deviation)[changed > 1e-12].max().item() if (changed > 1e-12).any() else 0.0


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_keeps_the_function_on_the_data(data, dtype):
    torch.manual_seed(0)
    layer = KANLinear(CHANNELS, 3, spline_scale=1.0).to(dtype)
    assert change(layer, DATA[data]().to(dtype)) <= 0.1


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("options", BASES)
def test_keeps_it_with_other_bases_and_under_autocast(data, options):
    torch.manual_seed(0)
    layer = KANLinear(CHANNELS, 3, **options)
    with torch.autocast("cpu", torch.bfloat16):
        layer.update_grid(DATA[data]())  # is not computed in bfloat16
    assert change(layer, DATA[data]()) <= 0.1


@pytest.mark.parametrize("options", [{}, {"groups": 3, "stride": 2, "padding": 1, "order": 1}])
def test_keeps_it_in_convolutions(options):
    torch.manual_seed(0)
    layer = KANConv2d(6, 9, 3, **options)
    x = torch.randn(20, 6, 9, 9)
    x[:, 1] *= torch.rand(20, 9, 9) < 0.005
    x[:, 3] = 1.5
    assert change(layer, x) <= 0.1
    assert layer.grid_low[3] == -2 and layer.grid_low[0] < -2


@pytest.mark.parametrize(
    "data", ["normal", "beyond the grid", "to one side of the grid", "heavy tails", "one-hot"]
)
def test_covers_the_data(data):
    """Two percent may stay outside, but nothing that the grid covered before."""
    torch.manual_seed(0)
    layer, x = KANLinear(CHANNELS, 3), DATA[data]()
    covered = (x >= layer.grid_low) & (x <= layer.grid_high)
    assert layer.update_grid(x) == CHANNELS
    outside = (x < layer.grid_low) | (x > layer.grid_high)
    assert outside.float().mean(0).max() <= 0.02
    assert not (outside & covered).any()


def test_narrow_data_get_a_fine_grid():
    torch.manual_seed(0)
    layer, x = KANLinear(CHANNELS, 3, spline_scale=1.0), DATA["a tenth of the grid"]()
    layer.update_grid(x)
    torch.testing.assert_close(layer.grid_high, x.amax(0))
    torch.testing.assert_close(layer.grid_low, x.amin(0))


def test_large_splines_let_the_grid_come_nearer_step_by_step():
    torch.manual_seed(0)
    layer, x = KANLinear(CHANNELS, 3, spline_scale=1.0), DATA["to one side of the grid"]() - 2
    reached = []
    for _ in range(5):
        assert change(layer, x) <= 0.1
        reached.append((x > layer.grid_high).float().mean().item())
    assert reached == sorted(reached, reverse=True) and reached[-1] < reached[0]


def test_a_constant_channel_keeps_its_grid():
    torch.manual_seed(0)
    layer, x = KANLinear(CHANNELS, 3), DATA["constant"]()
    assert layer.update_grid(x) == CHANNELS - 1
    assert layer.grid_low[2] == -2 and layer.grid_high[2] == 2


def test_an_outlier_among_the_outputs_does_not_loosen_the_rule():
    outputs = torch.cat([torch.randn(10_000, 2), torch.full((1, 2), 1e8)])
    torch.testing.assert_close(spread_of(outputs), torch.ones(2).double(), atol=0.03, rtol=0)
    layer = KANLinear(CHANNELS, 3, spline_scale=1.0)
    x = torch.cat([normal() * 4, torch.full((1, CHANNELS), 1e6)])
    before = layer(x)[:-1]
    layer.update_grid(x)
    assert ((layer(x)[:-1] - before).abs().amax(0) <= 0.1 * before.std(0)).all()


@pytest.mark.parametrize(
    "dtype, value", [(torch.float32, 3e38), (torch.float16, 6e4), (torch.float64, 1e300)]
)
def test_the_largest_values_make_no_grid_that_is_not_finite(dtype, value):
    torch.manual_seed(0)
    layer = KANLinear(1, 3).to(dtype)
    layer.update_grid(torch.tensor([[-value], [0.0], [1.0], [value]], dtype=dtype))
    assert all(own.isfinite().all() for own in layer.state_dict().values())
    assert (layer.grid_low < layer.grid_high).all() and layer(torch.randn(5, 1, dtype=dtype)).isfinite().all()


def test_ends_in_half_precision_are_those_that_the_refit_was_made_for():
    ends = torch.tensor([-1.0]).double(), torch.tensor([1.0]).double()
    grids = Grids(*ends, grid=4, order=1, dtype=torch.bfloat16).at(ends[0] - 0.001, ends[1] + 0.001)
    assert grids.low.item() == torch.tensor(-1.001).bfloat16() and grids.low.dtype == torch.float64


@pytest.mark.parametrize(
    "x, margin, said",
    [
        (torch.tensor([[0.0, float("nan")]]), 0.02, "1 values of x are NaN or infinite .*channel 1"),
        (
            torch.tensor([[float("inf"), -float("inf")]]),
            0.02,
            "2 values of x are NaN or infinite .*channel 0",
        ),
        (torch.zeros(0, 2), 0.02, "x is empty"),
        (torch.zeros(3, 5), 0.02, "x has 5 channels, the layer takes 2"),
        (torch.zeros(3, 2), 1.0, "margin must be in"),
        (torch.zeros(3, 2), float("nan"), "margin must be in"),
    ],
)
def test_bad_data_are_an_error_and_change_nothing(x, margin, said):
    layer = KANLinear(2, 3)
    before = copy.deepcopy(layer.state_dict())
    with pytest.raises(InputError, match=said):
        layer.update_grid(x, margin)
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())


@pytest.mark.parametrize(
    ("layer", "shape"), [(KANLinear(4, 3), (4,)), (KANConv2d(4, 3, 3, padding=1), (4, 6, 6))]
)
def test_one_sample_without_a_batch_is_taken_as_forward_takes_it(layer, shape):
    x = 3 * torch.randn(shape)
    before = layer(x)
    layer.update_grid(x)
    assert torch.isfinite(layer(x)).all() and layer(x).shape == before.shape


@pytest.mark.parametrize("bad", [{"in_features": 0}, {"grid_range": (0.0, float("inf"))}])
def test_layers_that_cannot_be_are_refused(bad):
    with pytest.raises(ValueError, match=r"needs inputs and outputs|grid_range must be"):
        KANLinear(**{"in_features": 2, "out_features": 3} | bad)
