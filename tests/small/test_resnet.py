"""MCM's residual networks: their layers counted, experts told apart, shortcuts that pad."""

import torch
import torch.nn.functional as F
from torch import nn

from kcm_lightning.small.resnet import ExpertResNet32, ResNet101


def test_resnet_101_has_101_layers_and_keeps_small_images_large():
    model = ResNet101(10).eval()
    shortcuts = sum(
        "downsample" in name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)
    )
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) - shortcuts == 101
    sizes = []
    model.net.layer1.register_forward_hook(lambda module, inputs, output: sizes.append(output.shape[-1]))
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10) and sizes == [32]
    assert model.num_classes == 10


def test_experts_have_32_layers_each_and_their_logits_add_up():
    torch.manual_seed(0)
    model = ExpertResNet32(10, experts=3).eval()
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.experts[0].modules())
    assert 1 + convolutions + 1 == 32
    images = torch.randn(4, 3, 32, 32)
    each = model.by_expert(images)
    assert each.shape == (3, 4, 10) and each.abs().max() <= 30.0
    torch.testing.assert_close(model(images), each[0] + each[1] + each[2])
    assert not torch.allclose(each[0], each[1])
    assert all(torch.allclose(weight.norm(dim=1), torch.ones(10)) for weight in model.classes)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.by_expert(images)
    assert half.dtype == torch.float32 and len(half.unique()) > 0.9 * half.numel()  # no ties of a coarse grid
    alone = torch.cat([model(image.unsqueeze(0)) for image in images])
    torch.testing.assert_close(model(images), alone, atol=1e-4, rtol=1e-4)


def test_shortcut_halves_and_pads_with_zeros():
    torch.manual_seed(0)
    block = ExpertResNet32(10, experts=1).experts[0][5].eval()  # the first of the second stage
    for module in block.second.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)  # leaves the shortcut alone
    x = torch.randn(2, 16, 8, 8)
    wanted = torch.zeros(2, 32, 4, 4)
    wanted[:, 8:24] = x[:, :, ::2, ::2]
    torch.testing.assert_close(block(x), F.relu(wanted))
