"""What is changed in place between forward and backward pass is an error, as it is for `nn.Linear`."""

import copy
import shutil

import pytest
import torch
from torch import nn

from kcm_lightning.kan import KANConv2d, KANLinear, KANRecurrent

CASES = {
    "linear": (lambda: KANLinear(4, 3), (6, 4)),
    "convolution": (lambda: KANConv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
    "recurrent": (lambda: KANRecurrent(4, 3), (2, 5, 4)),
}
STEPPED = [lambda: nn.Linear(4, 3), lambda: KANLinear(4, 3), lambda: KANConv2d(4, 6, 3)]
CHANGED = "modified by an inplace operation"


def layer_of(layer: nn.Module) -> KANLinear | KANConv2d:
    """The layer whose grid and splines are changed: of a recurrent one that of the second direction."""
    return layer.states[1] if isinstance(layer, KANRecurrent) else layer


def double(name):
    def change(layer, x):
        getattr(layer_of(layer), name).mul_(2)

    return change


def load(layer, x):
    layer.load_state_dict({key: 2 * value for key, value in layer.state_dict().items()})


def move_grid(layer, x):
    own = layer_of(layer)
    own.update_grid(torch.rand(2, 3) if isinstance(layer, KANRecurrent) else x)


CHANGES = {name: double(name) for name in ("base_weight", "spline_weight", "grid_low", "grid_high")}
CHANGES |= {"load_state_dict": load, "update_grid": move_grid, "input": lambda layer, x: x.mul_(2)}
MATTERS = [  # where the input needs no gradient, none depends on the weights
    (case, change, needed)
    for case in CASES
    for change in CHANGES
    for needed in (True, False)
    if needed or case == "recurrent" or not change.endswith("weight")
]


@pytest.mark.parametrize("case, change, needed", MATTERS)
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_change_before_the_backward_pass_is_an_error(case, change, needed, precision):
    make, shape = CASES[case]
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape)
    if needed:
        x = x.requires_grad_() * 1
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        out = layer(x)
    with torch.no_grad():
        CHANGES[change](layer, x)
    with pytest.raises(RuntimeError, match=CHANGED):
        out.sum().backward()


def test_plain_layers_do_the_same():
    layer, x = nn.Linear(4, 3), torch.randn(6, 4)
    out = layer(x)
    x.mul_(2)
    with pytest.raises(RuntimeError, match=CHANGED):
        out.sum().backward()


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("needed", [True, False])
@pytest.mark.parametrize("make", STEPPED, ids=["plain", "linear", "convolution"])
def test_a_step_of_an_optimizer_matters_where_the_input_needs_a_gradient(make, needed, optimizer):
    """The gradient of the weights does not depend on them: where the input needs none, a step may come."""
    torch.manual_seed(0)
    layer, x = make(), torch.randn(4, 5, 4, requires_grad=needed)
    loss = layer(x).square().sum() if needed else layer(x).sum()
    first = torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True)
    for parameter, gradient in zip(layer.parameters(), first, strict=True):
        parameter.grad = gradient
    optimizer(layer.parameters(), lr=0.1).step()
    if needed:
        with pytest.raises(RuntimeError, match=CHANGED):
            torch.autograd.grad(loss, [*layer.parameters(), x])
    else:
        torch.testing.assert_close(torch.autograd.grad(loss, list(layer.parameters())), first)


@pytest.mark.parametrize("case", CASES)
def test_a_change_of_a_copy_is_none(case):
    make, shape = CASES[case]
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape, requires_grad=True)
    layer(x).sum().backward()
    expected, x.grad = x.grad, None
    out = layer(x)
    other = copy.deepcopy(layer)
    with torch.no_grad():
        for value in other.state_dict().values():
            value.mul_(2)
    layer.load_state_dict(other.state_dict(), assign=True)  # new tensors: the old ones are as they were
    out.sum().backward()
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("shape", [(2, 4, 5, 5), (4, 5, 5)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_in_every_layout_of_images(shape, layout):
    layer, x = KANConv2d(4, 6, 3), torch.randn(shape)
    x = x.contiguous(memory_format=layout) if len(shape) == 4 else x
    out = layer(x)
    x.mul_(2)
    with pytest.raises(RuntimeError, match=CHANGED):
        out.sum().backward()


@pytest.mark.parametrize("case", CASES)
def test_a_change_of_the_output_is_allowed_or_an_error_and_never_a_wrong_gradient(case):
    make, shape = CASES[case]
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape, requires_grad=True)
    layer(x).mul(2).sum().backward()
    expected, x.grad = x.grad, None
    try:
        layer(x).mul_(2).sum().backward()
    except RuntimeError as error:
        assert "inplace" in str(error)
    else:
        torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("case", CASES)
def test_a_change_after_the_backward_pass_is_none(case):
    make, shape = CASES[case]
    torch.manual_seed(0)
    layer, x = make(), torch.randn(shape)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(2):
        layer(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        x.mul_(2)
    with torch.no_grad():
        out = layer(x)
        x.mul_(2)
    assert torch.isfinite(out).all()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("change", ["input", "grid_low", "spline_weight"])
def test_compiled_layers_never_give_a_wrong_gradient(change):
    torch.manual_seed(0)
    eager = KANLinear(4, 3)
    compiled = copy.deepcopy(eager)
    compiled.compile()
    x = torch.randn(6, 4)
    eager(x).sum().backward()
    out = compiled(x)
    with torch.no_grad():
        CHANGES[change](compiled, x)
    try:
        out.sum().backward()
    except RuntimeError as error:
        assert CHANGED in str(error)
    else:  # the compiler has kept a copy
        for one, other in zip(compiled.parameters(), eager.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)
