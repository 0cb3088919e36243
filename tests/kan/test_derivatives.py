"""Second and forward-mode derivatives and `torch.func`, against formulations in plain operations."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap

from kcm_lightning.kan import KANConv2d, KANLinear, KANRecurrent
from kcm_lightning.kan.layer import KANLayer

# the transforms of the layer of two directions take longest, and the code is that of one direction
SLOW = pytest.param("recurrent", marks=pytest.mark.slow)
LAYERS = {
    "linear": lambda: KANLinear(3, 2),
    "linear of order 1": lambda: KANLinear(3, 2, grid=3, order=1),
    "linear of order 0": lambda: KANLinear(3, 2, grid=3, order=0),
    "convolution": lambda: KANConv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0), groups=2, order=2),
    "recurrent, one direction": lambda: KANRecurrent(3, 2, bidirectional=False, grid=3, order=2),
    "recurrent": lambda: KANRecurrent(3, 2, grid=3),
}
NAMES = [SLOW if name == "recurrent" else name for name in LAYERS]
SHAPES = {"l": (4, 3), "c": (2, 2, 4, 3), "r": (2, 3, 3)}


def layer_and_input(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    for part in layer.modules():
        if isinstance(part, KANLayer):
            nn.init.normal_(part.spline_weight, std=0.5)
    return layer, torch.randn(SHAPES[name[0]], dtype=torch.float64) * 1.5  # some of it off the grid


def cox_de_boor(x: Tensor, low: Tensor, high: Tensor, grid: int, order: int) -> Tensor:
    """Basis functions `(..., grid + order, C)` of `(..., C)` by recursion, the last interval closed."""
    step = (high - low) / grid
    inside = torch.minimum(torch.maximum(x, low), high)
    knots = [low + step * i for i in range(-order, grid + order + 1)]
    interval = ((inside.detach() - low) / step).floor().clamp(0, grid - 1)
    functions = [(interval == i).to(x) for i in range(-order, grid + order)]
    for k in range(1, order + 1):
        functions = [
            (inside - knots[i]) / (k * step) * functions[i]
            + (knots[i + k + 1] - inside) / (k * step) * functions[i + 1]
            for i in range(len(functions) - 1)
        ]
    return torch.stack(functions, dim=-2)


def plain(layer: KANLayer, x: Tensor) -> Tensor:
    """What a linear or convolutional layer computes, basis function by basis function."""
    own = layer.grid, layer.order
    if isinstance(layer, KANLinear):
        basis = cox_de_boor(x, layer.grid_low, layer.grid_high, *own)
        return torch.einsum("...kc,okc->...o", basis, layer.spline_weight) + F.silu(x) @ layer.base_weight.T
    options = layer.stride, layer.padding, layer.dilation, layer.groups
    basis = cox_de_boor(x.movedim(1, -1), layer.grid_low, layer.grid_high, *own).movedim(-1, 1)
    out = F.conv2d(F.silu(x), layer.base_weight, None, *options)
    for k in range(sum(own)):
        out = out + F.conv2d(basis[..., k], layer.spline_weight[:, k], None, *options)
    return out


def plain_recurrent(layer: KANRecurrent, x: Tensor) -> Tensor:
    outs = []
    for direction, gates in enumerate((plain(layer.inputs, x) + layer.bias).chunk(layer.directions, dim=-1)):
        h, states = x.new_zeros(len(x), layer.width), []
        for own in (gates.flip(1) if direction else gates).unbind(1):
            (xz, xr, xn), (hz, hr, hn) = (
                part.chunk(3, dim=-1) for part in (own, plain(layer.states[direction], h))
            )
            z, r = torch.sigmoid(xz + hz), torch.sigmoid(xr + hr)
            h = (1 - z) * torch.tanh(xn + r * hn) + z * h
            states.append(h)
        states = torch.stack(states, dim=1)
        outs.append(states.flip(1) if direction else states)
    return torch.cat(outs, dim=-1)


class Plain(nn.Module):
    """A layer with its computation replaced by the plain one."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        call = plain_recurrent if isinstance(self.layer, KANRecurrent) else plain
        return call(self.layer, x)


def of_parameters(layer: nn.Module):
    """The layer as a function of its parameters and its input, and the parameters."""
    names, values = zip(*layer.named_parameters(), strict=True)
    return lambda x, *own: functional_call(layer, dict(zip(names, own, strict=True)), (x,)), [
        value.detach().clone() for value in values
    ]


@pytest.fixture(autouse=True)
def no_slow_fallback():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*performance drop.*")
        yield


@pytest.mark.parametrize("name", NAMES)
def test_gradgradcheck(name):
    layer, x = layer_and_input(name)
    call, values = of_parameters(layer)
    inputs = [value.requires_grad_() for value in (x, *values)]
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck_of_forward_mode(name):
    layer, x = layer_and_input(name)
    call, values = of_parameters(layer)
    inputs = [value.requires_grad_() for value in (x, *values)]
    assert torch.autograd.gradcheck(call, inputs, check_forward_ad=True, fast_mode=True)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_a_gradient_penalty_are_the_plain_ones(name):
    layer, x = layer_and_input(name)
    found = []
    for module in (layer, Plain(layer)):
        own = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(module(own).square().sum(), own, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), [own, *layer.parameters()], allow_unused=True))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_transforms_give_the_plain_derivatives(name):
    layer, x = layer_and_input(name)
    tangent = torch.randn_like(x)

    def loss(module):
        return lambda x: module(x).square().sum()

    transforms = {
        "grad": lambda module: grad(loss(module))(x),
        "jacrev": lambda module: jacrev(module)(x),
        "jacfwd": lambda module: jacfwd(module)(x),
        "jvp": lambda module: jvp(module, (x,), (tangent,)),
        "grad of jvp": lambda module: grad(lambda x: jvp(module, (x,), (tangent,))[1].square().sum())(x),
        "hessian": lambda module: hessian(loss(module))(x),
        "grad of grad": lambda module: grad(lambda x: grad(loss(module))(x).square().sum())(x),
        "vmap": lambda module: vmap(module)(torch.stack([x, 2 * x])),
        "jacrev of vmap": lambda module: jacrev(vmap(module))(torch.stack([x, 2 * x])),
    }
    for call in transforms.values():
        torch.testing.assert_close(call(layer), call(Plain(layer)), atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_by_sample_equal_those_of_single_samples(name):
    layer, x = layer_and_input(name)
    parameters = {key: value.detach() for key, value in layer.named_parameters()}

    def loss(own, sample):
        return functional_call(layer, own, (sample.unsqueeze(0),)).square().sum()

    together = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    for i, sample in enumerate(x):
        layer.zero_grad()
        layer(sample.unsqueeze(0)).square().sum().backward()
        for key, value in layer.named_parameters():
            torch.testing.assert_close(together[key][i], value.grad, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("name", ["linear", "convolution", "recurrent"])
def test_ensemble_with_weights_and_grids_of_its_own(name):
    layers = []
    for seed in range(3):
        layer, x = layer_and_input(name)
        torch.manual_seed(seed)
        for key, value in layer.state_dict().items():
            value.add_(0.1 * seed if "grid" in key else torch.randn_like(value))
        layers.append(layer)
    state = stack_module_state(layers)
    together = vmap(lambda *own: functional_call(layers[0], own[:2], (own[2],)), in_dims=(0, 0, None))
    expected = torch.stack([layer(x) for layer in layers])
    torch.testing.assert_close(together(*state, x), expected, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("name", ["linear", "convolution", "recurrent"])
def test_dual_numbers(name):
    layer, x = layer_and_input(name)
    tangent = torch.randn_like(x)
    with forward_ad.dual_level():
        out = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, tangent))).tangent
    torch.testing.assert_close(out, jvp(Plain(layer), (x,), (tangent,))[1], atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("name", ["linear", "convolution", "recurrent"])
def test_transforms_where_gradients_are_off(name):
    layer, x = layer_and_input(name)
    tangent = torch.randn_like(x)

    def of_constant(x):
        with torch.no_grad():
            scale = layer(x).sum()
        return scale * x.sum()

    with torch.no_grad():
        torch.testing.assert_close(
            vmap(layer)(torch.stack([x, 2 * x])), torch.stack([layer(x), layer(2 * x)])
        )
        torch.testing.assert_close(jvp(layer, (x,), (tangent,)), jvp(Plain(layer), (x,), (tangent,)))
        with forward_ad.dual_level():
            out = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, tangent))).tangent
    torch.testing.assert_close(out, jvp(Plain(layer), (x,), (tangent,))[1])
    torch.testing.assert_close(grad(of_constant)(x), torch.full_like(x, layer(x).sum().item()))


@pytest.mark.parametrize("name", ["linear", "convolution", "recurrent"])
def test_batches_of_gradients(name):
    layer, x = layer_and_input(name)
    x.requires_grad_()
    out = layer(x)
    several = torch.randn(3, *out.shape, dtype=out.dtype)
    inputs = [x, *layer.parameters()]
    together = torch.autograd.grad(out, inputs, several, is_grads_batched=True, retain_graph=True)
    for i, single in enumerate(several):
        for ours, theirs in zip(
            together, torch.autograd.grad(out, inputs, single, retain_graph=True), strict=True
        ):
            torch.testing.assert_close(ours[i], theirs)
    found, expected = (
        torch.autograd.functional.hessian(lambda x, own=own: own(x).square().sum(), x, vectorize=True)
        for own in (layer, Plain(layer))
    )
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-7)


def test_second_derivatives_in_float32_under_autocast_are_near():
    torch.manual_seed(0)
    layer = KANLinear(6, 4, spline_scale=1.0)
    x = torch.randn(50, 6)
    slopes = []
    for dtype in (torch.float32, torch.bfloat16):
        own = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            out = layer(own)
        (slope,) = torch.autograd.grad(out.float().square().sum(), own, create_graph=True)
        slopes.append(torch.autograd.grad(slope.square().sum(), own)[0])
    exact, rough = slopes
    assert (rough - exact).norm() < 0.03 * exact.norm()
