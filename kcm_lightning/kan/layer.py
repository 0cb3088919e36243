"""What the linear and the convolutional KAN layer share: grid, weights, grid update, regularization."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from kcm_lightning.kan.grid import Grids, check, farthest, moves, onto, spread_of
from kcm_lightning.kan.spline import expand, expand_gradient, expand_tangent, unrecorded

_UNCHANGED = 0.1  # standard deviations that a grid update may change an output by
_TOLERANCES = (0.2, 0.1, 0.05, 0.02, 0.01)  # the same for one spline, tried until the outputs are unchanged


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
        if min(in_features, out_features) < 1:
            raise ValueError(f"a layer needs inputs and outputs, not {in_features} and {out_features}")
        if grid < 1 or order < 0:
            raise ValueError(f"a spline needs grid >= 1 and order >= 0, not grid={grid}, order={order}")
        if not (grid_range[0] < grid_range[1] and all(map(math.isfinite, grid_range))):
            raise ValueError(f"grid_range must be (low, high) with low < high, not {tuple(grid_range)}")
        if in_features % groups or out_features % groups:
            raise ValueError(f"groups={groups} must divide {in_features} inputs and {out_features} outputs")
        self.in_features, self.out_features = in_features, out_features
        self.sample_ndim = 1 + len(kernel)  # axes of one sample without a batch
        self.grid, self.order, self.groups, self.spline_scale = grid, order, groups, spline_scale
        self.grid_range = tuple(map(float, grid_range))  # as given: `update_grid` moves the grid
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

    def transform(self, x: Tensor) -> Tensor:
        """Applies the functions on all edges and adds them up; `x` as `channels_last` takes it."""
        weight, dtype = self.joint_weight(), product_dtype(x)
        # a compiler chooses itself what to keep and what to compute twice; without gradients nothing is kept
        if torch.compiler.is_compiling() or unrecorded():
            return self.product(self.basis_channels(x, self.grid_low, self.grid_high, dtype), weight)
        if torch.is_autocast_enabled(x.device.type):
            weight = weight.to(dtype)
        watched = self.watched_weights() if x.requires_grad else ()  # those of the weight do not depend on it
        return _KeepInput.apply(x, self.grid_low, self.grid_high, weight, self, dtype, *watched)

    def watched_weights(self) -> tuple[Tensor, Tensor]:
        """What must not change before a backward pass that needs `joint_weight`, a copy; without gradient."""
        return self.base_weight.detach(), self.spline_weight.detach()

    def basis_channels(self, x: Tensor, low: Tensor, high: Tensor, dtype: torch.dtype) -> Tensor:
        """Basis channels of inputs, in the order of `joint_weight`, as `product` takes them.

        Args:
            x: as `channels_last` takes it.
            low: as `grid_low`.
            high: as `grid_high`.
            dtype: of the result.

        Returns:
            `groups * (grid + order + 1) * in / groups` channels.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self._arranged(expand(self.channels_last(x), low, high, self.grid, self.order, dtype))

    def _arranged(self, channels: Tensor) -> Tensor:
        """Channels `(..., grid + order + 1, in)` as `product` takes them."""
        if self.groups > 1:
            channels = channels.unflatten(-1, (self.groups, -1)).transpose(-3, -2).flatten(-3, -2)
        return self.channels_back(channels.flatten(-2))

    def basis_tangent(
        self, x: Tensor, low: Tensor, high: Tensor, tangent: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """How the basis channels move when `x` moves by `tangent`, itself differentiable in both."""
        last, tangent = self.channels_last(x), self.channels_last(tangent)
        return self._arranged(expand_tangent(last, low, high, tangent, self.grid, self.order, dtype))

    def basis_gradient(self, x: Tensor, low: Tensor, high: Tensor, gradient: Tensor) -> Tensor:
        """Gradient of `x` from that of its basis channels, itself differentiable in both."""
        last = self.channels_last(x)
        gradient = self.channels_last(gradient)
        places, basis = last.shape[:-1], self.grid + self.order + 1
        gradient = gradient.reshape(*places, self.groups, basis, self.in_features // self.groups)
        gradient = gradient.transpose(-3, -2).reshape(*places, basis, self.in_features)
        return self.channels_back(expand_gradient(last, low, high, gradient, self.grid, self.order))

    @torch.no_grad()
    def update_grid(self, x: Tensor, margin: float = 0.02) -> int:
        """Moves each channel's grid onto its data and refits the splines, which compute the same as before.

        A grid is moved as far as its splines allow: half, a quarter or an eighth of the way, or not at all,
        where all the way would change what they compute. No output for the given data changes by more than a
        tenth of its standard deviation over them. What the layer computes for other data may change.

        Args:
            x: inputs the layer has seen, as `forward` takes them. Several processes have to give the same.
            margin: share of the values left outside the grid, half of it at either end, so that an outlier
                does not stretch it. Values inside the grid so far stay inside.

        Returns:
            How many channels have a new grid. One whose values are all the same keeps its own.

        Raises:
            InputError: `x` does not fit the layer, is empty, or is not finite.
        """
        exact = torch.promote_types(self.spline_weight.dtype, torch.float32)
        x = x.unsqueeze(0) if x.ndim == self.sample_ndim else x
        trial, x = copy.deepcopy(self).to(exact), x.to(exact)
        samples = self.channels_last(x).flatten(0, -2)
        check(samples, self.in_features, margin)
        ends = self.grid_low.double(), self.grid_high.double()
        old = Grids(*ends, self.grid, self.order, self.grid_low.dtype)
        aim = onto(samples, old, margin)
        with torch.autocast(x.device.type, enabled=False):
            before = self.channels_last(trial.forward(x))
            spread = spread_of(before.flatten(0, -2))
            found = moves(samples, old, aim, self._edges(spread))
            for tolerance in (*_TOLERANCES, 0.0):
                grids, change = farthest(found, tolerance)
                trial._set_splines(grids, self._refitted(change))
                change = self.channels_last(trial.forward(x)) - before
                if (change.abs() <= _UNCHANGED * spread).all():
                    break
        self._set_splines(grids, trial.spline_weight)
        return int((grids.low != old.low).logical_or(grids.high != old.high).sum())

    def _edges(self, spread: Tensor) -> Tensor:
        """Splines by channel, `(in, grid + order, edges)`, in units of the `spread` of the outputs, which is
        shared out among the edges that an output adds up."""
        unit = spread.clamp_min(torch.finfo(spread.dtype).tiny) / self.base_weight[0].numel() ** 0.5
        edges = self.spline_weight.to(spread.dtype).movedim(0, -1) / unit  # (K, in / groups, *kernel, out)
        edges = edges.unflatten(-1, (self.groups, -1)).movedim(-2, 0)  # (groups, K, in / groups, ...)
        return edges.transpose(1, 2).flatten(0, 1).flatten(2)

    def _refitted(self, change: Tensor) -> Tensor:
        """Coefficients after a change of the basis, `(in, K, K)`."""
        change = change.unflatten(0, (self.groups, -1))
        weight = self.spline_weight.unflatten(0, (self.groups, -1)).to(change.dtype)
        weight = torch.einsum("gcnk,gokc...->gonc...", change, weight).flatten(0, 1)
        return weight.to(self.spline_weight.dtype)

    def _set_splines(self, grids: Grids, weight: Tensor) -> None:
        self.spline_weight.copy_(weight)
        self.grid_low.copy_(grids.low)
        self.grid_high.copy_(grids.high)

    def channels_last(self, x: Tensor) -> Tensor:
        """`x` with the channel axis moved to the end."""
        raise NotImplementedError

    def channels_back(self, x: Tensor) -> Tensor:
        """The inverse of `channels_last`."""
        raise NotImplementedError

    def product(self, channels: Tensor, weight: Tensor) -> Tensor:
        """The dense operation at the heart of the layer, on basis channels and `joint_weight`."""
        raise NotImplementedError

    def product_gradients(
        self, gradient: Tensor, channels: Tensor, weight: Tensor, needed: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Gradients of `channels` and `weight` from that of their product; None where not needed."""
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


class _KeepInput(torch.autograd.Function):
    """Product of basis channels and weight that keeps the input, not the channels, for the backward pass.

    The channels are `grid + order + 1` times the input; computing them twice is cheaper than keeping them.
    What the layer watches is kept for its version alone: if it is changed in place before the backward pass,
    that is an error, as in other layers.
    """

    @staticmethod
    def forward(
        x: Tensor, low: Tensor, high: Tensor, weight: Tensor, layer: KANLayer, dtype: torch.dtype, *_: Tensor
    ) -> Tensor:
        return layer.product(layer.basis_channels(x, low, high, dtype), weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, low, high, weight, ctx.layer, ctx.dtype, *watched = inputs
        ctx.save_for_backward(x, low, high, weight, *watched)
        ctx.save_for_forward(x, low, high, weight, *watched)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, low, high, weight, *_ = ctx.saved_tensors
        layer, needed = ctx.layer, (ctx.needs_input_grad[0], ctx.needs_input_grad[3])
        channels = layer.basis_channels(x, low, high, ctx.dtype)
        to_channels, to_weight = layer.product_gradients(gradient, channels, weight, needed)
        to_x = layer.basis_gradient(x, low, high, to_channels) if needed[0] else None
        return to_x, None, None, to_weight, *(None,) * (len(ctx.needs_input_grad) - 4)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        x, low, high, weight, *_ = ctx.saved_tensors
        layer = ctx.layer
        moved, weight_moved = (
            torch.zeros_like(at) if tangent is None else tangent
            for at, tangent in ((x, tangents[0]), (weight, tangents[3]))
        )
        channels = layer.basis_channels(x, low, high, ctx.dtype)
        channels_moved = layer.basis_tangent(x, low, high, moved, ctx.dtype)
        return layer.product(channels_moved, weight) + layer.product(channels, weight_moved)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        layer, dtype = inputs[4:6]

        def call(x: Tensor, low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
            return layer.product(layer.basis_channels(x, low, high, dtype), weight)

        return torch.func.vmap(call, in_dims[:4])(*inputs[:4]), 0


def product_dtype(x: Tensor) -> torch.dtype:
    """Type in which products of `x` are computed: autocast's where it is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
