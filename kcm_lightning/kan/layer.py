"""What the linear and the convolutional KAN layer share: grid, weights, grid update, regularization."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from kcm_lightning.kan.spline import bspline_basis, expand


class KANLayer(nn.Module):
    """A layer whose every edge carries a learnable function `base_weight * silu(x) + spline(x)`.

    Attributes:
        base_weight: weights of the base branch, shape `(out, in / groups, *kernel)`.
        spline_weight: spline coefficients, shape `(out, grid + order, in / groups, *kernel)`.
        grid_low, grid_high: ends of the uniform grid, one pair for each input channel, shape `(in,)`.
    """

    grid_low: Tensor
    grid_high: Tensor

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel: tuple[int, ...] = (),
        groups: int = 1,
        grid: int = 5,
        order: int = 3,
        grid_range: tuple[float, float] = (-2.0, 2.0),
        spline_scale: float = 0.1,
    ):
        super().__init__()
        if grid < 1 or order < 0:
            raise ValueError(f"a spline needs grid >= 1 and order >= 0, not grid={grid}, order={order}")
        if not grid_range[0] < grid_range[1]:
            raise ValueError(f"grid_range must be (low, high) with low < high, not {tuple(grid_range)}")
        if in_features % groups or out_features % groups:
            raise ValueError(f"groups={groups} must divide {in_features} inputs and {out_features} outputs")
        self.in_features, self.out_features = in_features, out_features
        self.grid, self.order, self.groups, self.spline_scale = grid, order, groups, spline_scale
        fan = (in_features // groups, *kernel)
        self.base_weight = nn.Parameter(torch.empty(out_features, *fan))
        self.spline_weight = nn.Parameter(torch.empty(out_features, grid + order, *fan))
        self.register_buffer("grid_low", torch.full((in_features,), float(grid_range[0])))
        self.register_buffer("grid_high", torch.full((in_features,), float(grid_range[1])))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Base branch as a SiLU network is initialized (unit variance kept); splines small, near zero."""
        fan_in = self.base_weight[0].numel()
        nn.init.normal_(self.base_weight, std=1.6 / fan_in**0.5)
        nn.init.normal_(self.spline_weight, std=self.spline_scale / fan_in**0.5)

    def joint_weight(self) -> Tensor:
        """Spline and base weights as one kernel over basis channels.

        Shape `(out, (grid + order + 1) * in / groups, *kernel)`.
        """
        return torch.cat([self.spline_weight, self.base_weight.unsqueeze(1)], dim=1).flatten(1, 2)

    def basis_channels(self, x: Tensor) -> Tensor:
        """Basis channels of inputs, in the order of `joint_weight`.

        Args:
            x: shape `(..., in)`.

        Returns:
            Shape `(..., groups * (grid + order + 1) * in / groups)`; under autocast of its dtype.
        """
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        with torch.autocast(device, enabled=False):
            out = expand(x, self.grid_low, self.grid_high, self.grid, self.order, dtype)
        if self.groups > 1:
            out = out.unflatten(-1, (self.groups, -1)).transpose(-3, -2)  # (..., groups, basis, in / groups)
            return out.flatten(-3)
        return out.flatten(-2)

    def recompute(self, channels: Tensor, x: Tensor) -> AbstractContextManager[Any]:
        """Context in which an operation keeps `x` for its backward pass instead of its `channels`.

        The basis channels are `grid + order + 1` times the input; computing them twice is cheaper than
        keeping them. A compiler makes that choice itself.
        """
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return nullcontext()
        place, size = channels.data_ptr(), channels.numel()
        source, enabled = x.detach(), torch.is_autocast_enabled(x.device.type)

        def pack(saved: Tensor):
            return None if saved.data_ptr() == place and saved.numel() == size else saved

        def unpack(saved):
            if saved is not None:
                return saved
            with torch.no_grad(), torch.autocast(x.device.type, channels.dtype, enabled=enabled):
                again = self.basis_channels(source)
            return again if again.dim() == 2 else again.movedim(-1, 1)

        return torch.autograd.graph.saved_tensors_hooks(pack, unpack)

    @torch.no_grad()
    def update_grid(self, x: Tensor, margin: float = 0.02) -> None:
        """Moves each channel's grid onto its data and refits the splines, which compute the same as before.

        Args:
            x: inputs the layer has seen, as `forward` takes them.
            margin: share of the values left outside at either end, so that an outlier does not stretch the
                grid.
        """
        samples = self.channels_last(x).flatten(0, -2).double()
        low, high = (samples.quantile(q, dim=0) for q in (margin / 2, 1 - margin / 2))
        middle, half = (low + high) / 2, ((high - low) / 2).clamp_min(1e-3)
        low, high = middle - half, middle + half
        steps = torch.linspace(0, 1, 8 * (self.grid + self.order), dtype=low.dtype, device=low.device)
        points = low + steps.unsqueeze(-1) * (high - low)  # (P, C)
        old_low, old_high = self.grid_low.double(), self.grid_high.double()
        old = bspline_basis(points, old_low, old_high, self.grid, self.order)  # (P, K, C)
        new = bspline_basis(points, low, high, self.grid, self.order)
        change = torch.linalg.lstsq(new.permute(2, 0, 1), old.permute(2, 0, 1)).solution  # (C, K, K)
        change = change.unflatten(0, (self.groups, -1)).float()
        weight = self.spline_weight.unflatten(0, (self.groups, -1))
        weight = torch.einsum("gcnk,gokc...->gonc...", change, weight.float())
        self.spline_weight.copy_(weight.flatten(0, 1))
        self.grid_low.copy_(low)
        self.grid_high.copy_(high)

    def channels_last(self, x: Tensor) -> Tensor:
        """Inputs as `forward` takes them, with the channel axis moved to the end."""
        raise NotImplementedError

    def regularization(self, entropy: float = 1.0) -> Tensor:
        """Sparsity penalty on the splines: mean L1 of the edges plus the entropy of their shares (Liu et al.
        2024).

        Args:
            entropy: weight of the entropy against L1.

        Returns:
            A scalar; 0 and without NaN when every edge is 0.
        """
        size = self.spline_weight.float().abs().mean(1)  # one magnitude an edge
        tiny = torch.finfo(size.dtype).tiny
        share = (size / size.sum().clamp_min(tiny)).clamp_min(tiny)  # the entropy's slope at 0 is infinite
        return size.mean() + entropy * torch.special.entr(share).sum()
