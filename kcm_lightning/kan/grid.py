"""Moving the grids of a KAN layer onto data while its splines keep their values there."""

from typing import NamedTuple

import torch
from torch import Tensor

from kcm_lightning.kan.spline import bspline_basis
from kcm_lightning.utils.errors import InputError

_UNSEEN = 0.01  # weight in a refit of what lies outside the data
_FARTHEST = 1e30  # differences of ends stay finite in float32


class Grids(NamedTuple):
    """Uniform grids, one for each channel.

    Attributes:
        low: left ends, shape `(C,)`, float64.
        high: right ends, shape `(C,)`, float64.
        grid: number of intervals.
        order: degree of the splines.
        dtype: in which the layer keeps the ends.
    """

    low: Tensor
    high: Tensor
    grid: int
    order: int
    dtype: torch.dtype

    def at(self, low: Tensor, high: Tensor) -> "Grids":
        """Grids with these ends, as the layer can keep them."""
        return self._replace(low=low.to(self.dtype).double(), high=high.to(self.dtype).double())

    def basis(self, points: Tensor) -> Tensor:
        """Basis functions of points `(P, C)`, shape `(C, P, grid + order)`."""
        return bspline_basis(points, self.low, self.high, self.grid, self.order).permute(2, 0, 1)

    def where(self, chosen: Tensor, other: "Grids") -> "Grids":
        """These grids in the chosen channels, the other ones in the rest."""
        low = torch.where(chosen, self.low, other.low)
        return self._replace(low=low, high=torch.where(chosen, self.high, other.high))


def check(samples: Tensor, channels: int, margin: float) -> None:
    """Refuses data that a grid cannot be put on.

    Args:
        samples: shape `(N, C)`.
        channels: of the layer.
        margin: see `onto`.

    Raises:
        InputError: the data are of another size, empty or not finite, or the margin is no share.
    """
    if not 0 <= margin < 1:
        raise InputError(f"update_grid: margin must be in [0, 1), not {margin}")
    if samples.shape[-1] != channels:
        raise InputError(f"update_grid: x has {samples.shape[-1]} channels, the layer takes {channels}")
    if not len(samples):
        raise InputError("update_grid: x is empty; give inputs that the layer has seen")
    bad = ~samples.isfinite()
    if bad.any():
        where = bad.any(0).nonzero().flatten().tolist()
        raise InputError(
            f"update_grid: {int(bad.sum())} values of x are NaN or infinite (first in channel {where[0]}); "
            "leave these samples out"
        )


def spread_of(outputs: Tensor) -> Tensor:
    """How far outputs `(N, C)` spread in each channel, float64.

    The standard deviation, or, where outliers make that large, half the width of the middle 68 %; of a normal
    distribution both are the same.
    """
    ordered = outputs.double().sort(dim=0).values
    skipped = int(0.16 * (len(ordered) - 1))
    return torch.minimum(ordered.std(0, correction=0), (ordered[-1 - skipped] - ordered[skipped]) / 2)


def onto(samples: Tensor, old: Grids, margin: float) -> Grids:
    """Grids on the data.

    At most `margin` of a channel's values are left outside, and none that the old grid covers: splines are
    constant beyond their grid, so that what is left outside must have been there before. A channel whose
    values are all the same says nothing about where its grid belongs, and keeps it.

    Args:
        samples: shape `(N, C)`, finite.
        old: grids so far.
        margin: share of the values.
    """
    ordered = samples.double().sort(dim=0).values
    least, most, skipped = ordered[0], ordered[-1], int(margin / 2 * (len(ordered) - 1))
    low, high = ordered[skipped], ordered[-1 - skipped]
    low = torch.where(least <= old.high, torch.minimum(low, torch.maximum(least, old.low)), low)
    high = torch.where(most >= old.low, torch.maximum(high, torch.minimum(most, old.high)), high)
    middle, size = (low + high) / 2, torch.maximum(low.abs(), high.abs())
    finest = 4 * old.grid * torch.finfo(old.dtype).eps * size  # below it the ends could not be told apart
    half = torch.maximum((high - low) / 2, finest.clamp_min(1e-3))
    limit = min(torch.finfo(old.dtype).max, _FARTHEST)
    new = old.at((middle - half).clamp(-limit, limit), (middle + half).clamp(-limit, limit))
    return new.where((least < most) & (new.low < new.high), old)


class Move(NamedTuple):
    """One way of moving grids.

    Attributes:
        grids: the new ones.
        change: from old to new coefficients, shape `(C, K, K)`.
        worst: by how much a spline of a channel changes at worst on the data, shape `(C,)`.
    """

    grids: Grids
    change: Tensor
    worst: Tensor


def moves(samples: Tensor, old: Grids, aim: Grids, weight: Tensor) -> list[Move]:
    """Grids all the way from the old ones to their aim, half of it, a quarter, an eighth, and none of it.

    Args:
        samples: shape `(N, C)`.
        old: grids so far.
        aim: where they should be.
        weight: splines on the old grids, shape `(C, grid + order, edges)`, in the unit of `Move.worst`.
    """
    least, most = (end.double() for end in samples.aminmax(dim=0))
    first, last = (end.clamp(old.low, old.high) for end in (least, most))  # beyond, splines are constant
    count, found = 8 * (old.grid + old.order), []
    for share in (1.0, 0.5, 0.25, 0.125):
        new = old.at(torch.lerp(old.low, aim.low, share), torch.lerp(old.high, aim.high, share))
        points = torch.cat([_spaced(new.low, new.high, count), _spaced(first, last, count)])
        before, after = old.basis(points), new.basis(points)
        seen = ((points >= least) & (points <= most)).T.unsqueeze(-1).to(points)
        weights = seen.clamp_min(_UNSEEN)
        change = torch.linalg.lstsq(weights * after, weights * before).solution
        missed = (seen * (before - after @ change)).to(weight)
        worst = [(own @ edges).abs().amax() for own, edges in zip(missed, weight, strict=True)]
        found.append(Move(new, change, torch.stack(worst)))
    same = torch.eye(old.grid + old.order, dtype=old.low.dtype, device=old.low.device)
    none = Move(old, same.repeat(len(old.low), 1, 1), torch.zeros_like(found[0].worst))
    return [*found, none]


def farthest(found: list[Move], tolerance: float) -> tuple[Grids, Tensor]:
    """The first of the moves, channel by channel, that changes no spline by more than `tolerance`."""
    *further, (grids, change, _) = found
    for new, other, worst in reversed(further):
        allowed = worst <= tolerance
        grids = new.where(allowed, grids)
        change = torch.where(allowed.view(-1, 1, 1), other, change)
    return grids, change


def _spaced(low: Tensor, high: Tensor, count: int) -> Tensor:
    """Evenly spaced points from end to end, `(count, C)`."""
    steps = torch.linspace(0, 1, count, dtype=low.dtype, device=low.device)
    return low + steps.unsqueeze(-1) * (high - low)
