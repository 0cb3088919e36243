"""KANRecurrent against a loop over samples and steps, written from its equations with autograd."""

import pytest
import torch

from kcm_lightning.kan import KANRecurrent


def one_direction(layer: KANRecurrent, x: torch.Tensor, direction: int) -> torch.Tensor:
    """States `(T, H)` of one sample `(T, C)`, step by step."""
    width = layer.width
    h = x.new_zeros(width)
    states = [None] * len(x)
    order = range(len(x)) if direction == 0 else reversed(range(len(x)))
    own = slice(direction * 3 * width, (direction + 1) * 3 * width)
    for t in order:
        from_input = (layer.inputs(x[t]) + layer.bias)[own]
        from_state = layer.states[direction](h)
        (xz, xr, xn), (hz, hr, hn) = from_input.chunk(3), from_state.chunk(3)
        z, r = torch.sigmoid(xz + hz), torch.sigmoid(xr + hr)
        n = torch.tanh(xn + r * hn)
        h = (1 - z) * n + z * h
        states[t] = h
    return torch.stack(states)


def naive(layer: KANRecurrent, x: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    out = []
    for sample, length in zip(x, lengths, strict=True):
        whole = []
        for direction in range(layer.directions):
            states = one_direction(layer, sample[:length], direction)
            rest = states.new_zeros(x.shape[1] - length, layer.width)
            if direction == 0 and len(rest):  # reading goes on over padding without a change
                rest = states[-1].expand_as(rest)
            whole.append(torch.cat([states, rest]))
        out.append(torch.cat(whole, dim=-1))
    return torch.stack(out)


def mask_of(lengths: list[int], steps: int) -> torch.Tensor:
    return torch.arange(steps) < torch.tensor(lengths).unsqueeze(1)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_states_and_gradients_equal_a_loop_from_the_equations(bidirectional, order):
    torch.manual_seed(0)
    layer = KANRecurrent(3, 4, bidirectional, grid=4, order=order, spline_scale=1.0).double()
    lengths = [5, 2, 4]
    x = torch.randn(3, 5, 3, dtype=torch.double, requires_grad=True)
    weight = torch.randn(3, 5, layer.directions * 4, dtype=torch.double)
    found = layer(x, mask_of(lengths, 5))
    expected = naive(layer, x, lengths)
    assert torch.allclose(found, expected, atol=1e-12)
    parameters = [x, *layer.parameters()]
    for a, b in zip(
        torch.autograd.grad((found * weight).sum(), parameters),
        torch.autograd.grad((expected * weight).sum(), parameters),
        strict=True,
    ):
        assert torch.allclose(a, b, atol=1e-10)


def test_states_beyond_their_grid_keep_the_value_at_its_end():
    torch.manual_seed(0)
    layer = KANRecurrent(3, 4, spline_scale=1.0).double()
    for states in layer.states:
        states.grid_low.fill_(-0.2)
        states.grid_high.fill_(0.1)
    x = torch.randn(2, 5, 3, dtype=torch.double, requires_grad=True)
    found, expected = layer(x), naive(layer, x, [5, 5])
    assert (found.abs() > 0.3).any()
    torch.testing.assert_close(found, expected)
    inputs = [x, *layer.parameters()]
    torch.testing.assert_close(
        *(torch.autograd.grad(out.square().sum(), inputs) for out in (found, expected))
    )


def test_gradcheck():
    torch.manual_seed(0)
    layer = KANRecurrent(2, 3, grid=3).double()
    x = torch.randn(2, 4, 2, dtype=torch.double, requires_grad=True)
    names, values = zip(*layer.named_parameters(), strict=True)
    values = tuple(v.detach().requires_grad_() for v in values)

    def run(x, *values):
        return torch.func.functional_call(
            layer, dict(zip(names, values, strict=True)), (x, mask_of([4, 2], 4))
        )

    assert torch.autograd.gradcheck(run, (x, *values))


def test_padding_changes_no_state():
    torch.manual_seed(0)
    layer = KANRecurrent(3, 8)
    x = torch.randn(2, 6, 3)
    padded = torch.cat([x, torch.randn(2, 5, 3)], dim=1)
    lengths = [6, 3]
    short, long = layer(x, mask_of(lengths, 6)), layer(padded, mask_of(lengths, 11))
    assert torch.equal(short, long[:, :6])


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 0.02), (torch.float16, 0.003)])
def test_half_precision_stays_near_float32(dtype, error):
    torch.manual_seed(0)
    layer = KANRecurrent(16, 32)
    x = torch.randn(4, 50, 16)
    with torch.autocast("cpu", dtype):
        rough = layer(x)
    assert rough.dtype == torch.float32
    assert (rough - layer(x)).abs().max() < error


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_far_off_the_grid(dtype):
    layer = KANRecurrent(16, 32)
    with torch.autocast("cpu", dtype):
        states = layer(torch.randn(4, 50, 16) * 1e4)
        states.sum().backward()
    assert torch.isfinite(states).all()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())


def test_single_steps_equal_the_whole_sequence():
    torch.manual_seed(0)
    layer = KANRecurrent(3, 8, bidirectional=False)
    x, state, states = torch.randn(2, 6, 3), torch.zeros(2, 8), []
    for t in range(6):
        state = layer.step(x[:, t], state)
        states.append(state)
    torch.testing.assert_close(torch.stack(states, dim=1), layer(x), atol=1e-6, rtol=1e-5)
