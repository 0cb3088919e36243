"""CKAN and its twin: shapes, shared skeleton, and that a KAN's splines matter."""

import pytest
import torch
from torch import nn

from kcm_lightning.kan import KANConv2d
from kcm_lightning.small import CKAN, CNN


@pytest.mark.parametrize("make", [CKAN, CNN])
@pytest.mark.parametrize("size", [8, 32])
def test_logits_and_every_parameter_learns(make, size):
    torch.manual_seed(0)
    model = make(7, width=8, depths=(1, 2))
    logits = model(torch.randn(5, 3, size, size))
    assert logits.shape == (5, 7) and model.num_classes == 7
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_twins_differ_in_the_layer_under_study_alone():
    kan, cnn = CKAN(10, width=16, depths=(1, 2, 2)), CNN(10, width=16, depths=(1, 2, 2))

    def skeleton(model):
        return [
            (type(m).__name__, tuple(getattr(m, "weight", torch.empty(0)).shape))
            for m in model.modules()
            if isinstance(m, (nn.BatchNorm2d, nn.Linear))
            or (isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3))
        ]

    assert skeleton(kan) == skeleton(cnn)
    splines = [m for m in kan.modules() if isinstance(m, KANConv2d)]
    assert len(splines) == 5
    extra = sum(m.spline_weight.numel() for m in splines)
    count = {m: sum(p.numel() for p in m.parameters()) for m in (kan, cnn)}
    assert count[kan] - extra == count[cnn]


def test_without_splines_ckan_computes_what_its_twin_computes():
    torch.manual_seed(0)
    kan, cnn = CKAN(4, width=8, depths=(1, 1)).eval(), CNN(4, width=8, depths=(1, 1)).eval()
    state = {}
    for name, value in kan.state_dict().items():
        if name.endswith("base_weight"):
            state[name.replace("base_weight", "1.weight")] = value
        elif not any(part in name for part in ("spline", "grid_")):
            state[name] = value
    cnn.load_state_dict(state)
    x = torch.randn(3, 3, 8, 8)
    assert not torch.allclose(kan(x), cnn(x), atol=1e-3)
    with torch.no_grad():
        for m in kan.modules():
            if isinstance(m, KANConv2d):
                m.spline_weight.zero_()
    torch.testing.assert_close(kan(x), cnn(x), atol=1e-5, rtol=1e-4)


def test_one_network_for_images_of_any_size():
    """The stages see about as much of a large image as of a small one; small ones are as before."""
    torch.manual_seed(0)
    model = CKAN(5, size="s").eval()
    seen = []
    model.features[1].register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0].shape[-1]))
    for side in (28, 32, 63, 64, 96, 224):
        assert model(torch.randn(2, 3, side, side)).shape == (2, 5)
    assert seen == [28, 32, 63, 32, 32, 32]
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images), model.classifier(model.features(images)))


def test_sizes_grow():
    for network in (CKAN, CNN):
        counts = [sum(p.numel() for p in network(5, size=size).parameters()) for size in ("s", "m", "l")]
        assert counts == sorted(counts) and counts[1] == sum(p.numel() for p in network(5).parameters())
