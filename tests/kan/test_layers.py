"""Linear and convolutional KAN layers against sums over edges written out."""

import pytest
import torch
import torch.nn.functional as F

from kcm_lightning.kan import KANConv2d, KANLinear, bspline_basis


def edge(layer, x, out, channel, place=()):
    """The function on one edge, applied to a tensor of inputs of that channel."""
    low, high = (
        layer.grid_low[channel : channel + 1].double(),
        layer.grid_high[channel : channel + 1].double(),
    )
    basis = bspline_basis(x.unsqueeze(-1), low, high, layer.grid, layer.order).squeeze(-1)  # (..., K)
    inside = channel % (layer.in_features // layer.groups)
    coefficients = layer.spline_weight[(out, slice(None), inside, *place)].double()
    return basis @ coefficients + layer.base_weight[(out, inside, *place)].double() * F.silu(x)


def test_linear_is_a_sum_over_edges():
    layer = KANLinear(3, 2).double()
    x = torch.randn(4, 5, 3, dtype=torch.float64) * 2
    expected = torch.stack([sum(edge(layer, x[..., i], o, i) for i in range(3)) for o in range(2)], dim=-1)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2, "padding": 1},
        {"padding": 2, "dilation": 2},
        {"groups": 2, "padding": (1, 0)},
        {"stride": (2, 1), "groups": 2, "order": 2, "grid": 3},
    ],
)
def test_conv_is_a_sum_over_edges_of_each_patch(options):
    layer = KANConv2d(4, 6, (3, 2), **options).double()
    x = torch.randn(2, 4, 7, 6, dtype=torch.float64)
    pad, stride, dilation = (
        torch.nn.modules.utils._pair(v) for v in (layer.padding, layer.stride, layer.dilation)
    )
    out = layer(x)
    expected = torch.zeros_like(out)
    for o in range(6):
        group = o // (6 // layer.groups)
        for i in range(group * 4 // layer.groups, (group + 1) * 4 // layer.groups):
            for a in range(3):
                for b in range(2):
                    applied = F.pad(edge(layer, x[:, i], o, i, (a, b)), (pad[1], pad[1], pad[0], pad[0]))
                    rows = slice(
                        a * dilation[0], a * dilation[0] + stride[0] * (out.shape[2] - 1) + 1, stride[0]
                    )
                    columns = slice(
                        b * dilation[1], b * dilation[1] + stride[1] * (out.shape[3] - 1) + 1, stride[1]
                    )
                    expected[:, o] += applied[:, rows, columns]
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(
    "layer", [KANLinear(3, 2), KANConv2d(2, 2, (2, 1), padding=(1, 0), groups=2, grid=2)]
)
def test_gradcheck(layer):
    layer = layer.double()
    shape = (5, 3) if isinstance(layer, KANLinear) else (1, 2, 3, 2)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weights = tuple(p.detach().requires_grad_() for p in layer.parameters())

    def call(x, base, spline):
        return torch.func.functional_call(layer, {"base_weight": base, "spline_weight": spline}, (x,))

    assert torch.autograd.gradcheck(call, (x, *weights))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_finite_and_near(dtype):
    torch.manual_seed(0)
    layer = KANConv2d(4, 8, 3, padding=1)
    x = torch.randn(2, 4, 6, 6)
    with torch.autocast("cpu", dtype):
        out = layer(x)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), layer(x), atol=0.05, rtol=0.05)
    far = torch.full((1, 4, 6, 6), 1e4, requires_grad=True)
    with torch.autocast("cpu", dtype):
        out = layer(far)
    out.float().mean().backward()
    assert torch.isfinite(out).all() and torch.isfinite(far.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


def test_keeps_at_most_twice_the_input_for_the_backward_pass():
    layer = KANConv2d(16, 32, 3, padding=1)
    x = torch.randn(8, 16, 16, 16, requires_grad=True)
    weights = {p.data_ptr() for p in layer.parameters()}
    kept = {}

    def pack(saved):
        kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        out = layer(x)
    joint = layer.joint_weight().numel() * 4
    activations = sum(size for place, size in kept.items() if place not in weights and size != joint)
    assert activations <= 2 * x.numel() * 4
    out.sum().backward()
    assert x.grad is not None


def test_grid_update_keeps_the_function_and_covers_the_data():
    torch.manual_seed(0)
    for layer, x in (
        (KANLinear(4, 3, grid=8), torch.randn(4000, 4) * 2 + torch.tensor([0.0, 0.3, -0.3, 0.5])),
        (KANConv2d(4, 6, 3, grid=8, groups=2), torch.randn(20, 4, 15, 15) * 2),
    ):
        before = layer(x)
        layer.update_grid(x)
        outside = (layer.channels_last(x) < layer.grid_low) | (layer.channels_last(x) > layer.grid_high)
        assert 0.01 < outside.float().mean() < 0.03
        assert (layer(x) - before).abs().mean() < 0.02 * before.abs().mean()


def test_grid_update_to_the_same_grid_changes_nothing():
    layer = KANLinear(2, 3)
    x = torch.linspace(-2, 2, 1001).unsqueeze(-1).repeat(1, 2)
    weight = layer.spline_weight.clone()
    layer.update_grid(x, margin=0)
    torch.testing.assert_close(layer.spline_weight, weight, atol=1e-5, rtol=1e-4)


def test_regularization_is_safe_at_zero_and_smallest_on_few_edges():
    layer = KANLinear(3, 4)
    with torch.no_grad():
        layer.spline_weight.zero_()
    loss = layer.regularization()
    loss.backward()
    assert loss < 1e-30 and torch.isfinite(layer.spline_weight.grad).all()
    spread, single = KANLinear(3, 4), KANLinear(3, 4)
    with torch.no_grad():
        spread.spline_weight.fill_(1 / 12)
        single.spline_weight.zero_()
        single.spline_weight[0, :, 0] = 1
    torch.testing.assert_close(spread.regularization() - single.regularization(), torch.tensor(12.0).log())


@pytest.mark.parametrize("options", [{"grid": 0}, {"grid_range": (1.0, -1.0)}])
def test_bad_options_are_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        KANLinear(2, 2, **options)
