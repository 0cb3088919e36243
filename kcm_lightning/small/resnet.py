"""Plain residual networks for MCM: ResNet-101, and Data Shunt's ResNet-32 with three experts."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResNet101(nn.Module):
    """torchvision's ResNet-101 for images of 32 pixels: a 3x3 stem of stride 1 and no first pooling.

    Args:
        num_classes: classes to tell apart.
    """

    def __init__(self, num_classes: int):
        from torchvision.models import resnet101

        super().__init__()
        self.num_classes = num_classes
        self.net = resnet101(num_classes=num_classes)
        self.net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.net.maxpool = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(B, num_classes)` of normalized images `(B, 3, H, W)`."""
        return self.net(images)


class ExpertResNet32(nn.Module):
    """ResNet-32 for CIFAR with several experts behind one stem (TLC, Li et al. 2022; Data Shunt).

    Each expert has three stages of five blocks and a cosine classifier, whose cosines are multiplied by
    `scale`. The experts' logits are summed, which is what TLC's weights come to where images are answered one
    at a time, as Data Shunt does it; TLC divides its weights by their sum over the batch, so that an answer
    depends on who else is asked.

    Args:
        num_classes: classes to tell apart.
        experts: number of experts.
        scale: number that the cosines are multiplied by.
        blocks: blocks of each stage; 5, the default, make a ResNet-32.
    """

    def __init__(self, num_classes: int, experts: int = 3, scale: float = 30.0, blocks: int = 5):
        super().__init__()
        self.num_classes, self.scale = num_classes, scale
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.experts = nn.ModuleList(_stages(blocks) for _ in range(experts))
        self.classes = nn.ParameterList(nn.Parameter(torch.empty(num_classes, 64)) for _ in range(experts))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        # of unit length: only a weight's direction counts, and the step in that falls with its length
        for weight in self.classes:
            weight.data = F.normalize(torch.empty_like(weight).uniform_(-1, 1), dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(B, num_classes)` of normalized images `(B, 3, H, W)`."""
        return self.by_expert(images).sum(0)

    def by_expert(self, images: Tensor) -> Tensor:
        """Each expert's logits, `(experts, B, num_classes)`.

        In float32: half precision is too coarse for scaled cosines.
        """
        shared = self.stem(images)
        features = torch.stack([stages(shared).mean((2, 3)) for stages in self.experts])  # (experts, B, 64)
        with torch.autocast(images.device.type, enabled=False):
            weights = F.normalize(
                torch.stack(list(self.classes)).float(), dim=-1
            )  # (experts, num_classes, 64)
            return self.scale * F.normalize(features.float(), dim=-1) @ weights.mT


def _stages(blocks: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 16
    for width in (16, 32, 64):
        for number in range(blocks):
            layers.append(_Block(before, width, stride=2 if number == 0 and width > 16 else 1))
            before = width
    return nn.Sequential(*layers)


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut that pads missing channels with zeros (He et al. 2016, A)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first = nn.Sequential(first, nn.BatchNorm2d(outputs), nn.ReLU())
        second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second = nn.Sequential(second, nn.BatchNorm2d(outputs))
        self.stride, self.missing = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.missing:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.missing // 2, self.missing - self.missing // 2))
        return F.relu(self.second(self.first(x)) + shortcut)
