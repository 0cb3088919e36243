"""Augmentation of a whole batch at once, on the device of the batch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def random_crop(images: Tensor, padding: int) -> Tensor:
    """Crops of the original size at a random place of each zero-padded image; shape `(B, C, H, W)`."""
    batch, _, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    top, left = (torch.randint(0, 2 * padding + 1, (batch, 1), device=images.device) for _ in range(2))
    rows = top + torch.arange(height, device=images.device)  # (B, H)
    columns = left + torch.arange(width, device=images.device)  # (B, W)
    batch_index = torch.arange(batch, device=images.device)[:, None, None]
    return padded[batch_index, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_flip(images: Tensor) -> Tensor:
    """Mirrors each image left to right with probability 1/2; shape `(B, C, H, W)`."""
    flipped = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(flipped, images.flip(-1), images)


def cutout(images: Tensor, size: int) -> Tensor:
    """Sets a square of each image to 0, centered anywhere (DeVries and Taylor 2017).

    Args:
        images: normalized images, shape `(B, C, H, W)`.
        size: side of the square, pixels.
    """
    batch, _, height, width = images.shape
    inside = []
    for length in (height, width):
        start = torch.randint(0, length, (batch, 1), device=images.device) - size // 2
        place = torch.arange(length, device=images.device)
        inside.append((place >= start) & (place < start + size))
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :]).unsqueeze(1), 0)


def random_rotation(images: Tensor, degrees: float) -> Tensor:
    """Turns each image by a random angle, nearest pixel, zeros beyond the border; uint8.

    Args:
        images: shape `(B, C, H, W)`.
        degrees: largest angle to either side.
    """
    batch, _, height, width = images.shape
    angle = math.radians(degrees) * (2 * torch.rand(batch, device=images.device) - 1)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], dim=1)  # (B, 6)
    grid = F.affine_grid(rows.view(batch, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, mode="nearest", align_corners=False).to(images.dtype)


def rand_augment(images: Tensor, operations: int, group: int = 8) -> Tensor:
    """torchvision's RandAugment, one draw for each `group` of images; uint8, shape `(B, C, H, W)`."""
    from torchvision.transforms import v2

    transform = v2.RandAugment(operations)
    return torch.cat([transform(part) for part in images.split(group)])


def cutmix(images: Tensor) -> tuple[Tensor, Tensor, float]:
    """Replaces a random box of each image by that of another image of the batch (Yun et al. 2019, alpha = 1).

    Args:
        images: shape `(B, C, H, W)`.

    Returns:
        The mixed images; the image that each box is from, indices of shape `(B,)`; and the share in [0, 1] of
        each image that is still its own.
    """
    height, width = images.shape[-2:]
    side = float(torch.rand(()).sqrt())  # the box covers a uniformly drawn share of the image
    center_y, center_x = torch.randint(0, height, ()).item(), torch.randint(0, width, ()).item()
    top, bottom = (min(max(int(center_y + s * side * height / 2), 0), height) for s in (-1, 1))
    left, right = (min(max(int(center_x + s * side * width / 2), 0), width) for s in (-1, 1))
    partner = torch.randperm(len(images), device=images.device)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, partner, 1 - (bottom - top) * (right - left) / (height * width)


def some_cutmix(images: Tensor, share: float) -> tuple[Tensor, Tensor, float]:
    """`cutmix` in a share of the batches, in [0, 1]; texts are left as they are."""
    if share and images.dim() == 4 and torch.rand(()) < share:
        return cutmix(images)
    return images, torch.arange(len(images), device=images.device), 1.0
