"""An alarm for a mean that has risen above a limit, which may be looked at at any time."""

from collections.abc import Sequence

import numpy as np

_BLOCK = 100  # samples after which the mean may begin to be another
_STAKES = np.array([0.05, 0.1, 0.2, 0.4, 0.8])  # of the largest that cannot lose all


class Alarm:
    """Bets that the mean of a stream is above a limit, from some sample on that is not known.

    Gamblers begin at each hundredth sample, with less and less money, `1 / (k (k + 1))` for the k-th; each
    bets the same share of what he owns on every sample. As long as the mean, given what was seen before, is
    not above the limit, what they own together is a supermartingale that begins at 1, so that it ever reaches
    `1 / risk` with a probability of at most `risk` (Ville's inequality; Shin, Ramdas and Rinaldo 2024 for
    such mixtures over times of change).

    Args:
        limit: the mean that is allowed.
        low: least possible value.
        high: largest possible value.
        risk: probability of a false alarm in the whole stream.

    Attributes:
        seen: number of samples.
        evidence: what the gamblers own together.
        raised_at: number of samples at which the alarm was raised; None where it was not.

    >>> alarm = Alarm(limit=0.01, low=0.0, high=1.0)
    >>> alarm.update([0.0] * 500 + [1.0, 0.0, 0.0] * 20)
    >>> alarm.raised_at is not None
    True
    """

    def __init__(self, limit: float, low: float = -1.0, high: float = 1.0, risk: float = 0.05):
        self.limit, self.risk, self.seen = limit, risk, 0
        self._low, self._high = low, high
        self._stakes = _STAKES / max(limit - low, 1e-9)  # a value of `low` takes this share of the money
        self._owned = np.zeros(len(_STAKES))
        self.evidence = 1.0
        self.raised_at: int | None = None

    def update(self, values: Sequence[float] | np.ndarray) -> None:
        """Takes further samples of the stream, in their order.

        Raises:
            ValueError: a value is outside of its range.
        """
        stream = np.asarray(values, dtype=float)
        if not ((stream >= self._low) & (stream <= self._high)).all():
            raise ValueError(f"a value is outside [{self._low}, {self._high}]")
        first = _BLOCK - self.seen % _BLOCK  # samples until the next gamblers begin
        for part in np.split(stream, range(first % _BLOCK, len(stream), _BLOCK)):
            if len(part):
                self._bet(part)

    def _bet(self, values: np.ndarray) -> None:
        """Samples of one block."""
        if self.seen % _BLOCK == 0:
            block = self.seen // _BLOCK + 1
            self._owned += 1 / (block * (block + 1)) / len(_STAKES)
        factors = 1 + self._stakes * (values[:, None] - self.limit)
        owned = np.minimum(self._owned * factors.cumprod(0), 1e200)
        waiting = 1 / (self.seen // _BLOCK + 2)  # of those who have not begun
        evidence = owned.sum(1) + waiting
        above = np.flatnonzero(evidence >= 1 / self.risk)
        if self.raised_at is None and len(above):
            self.raised_at = self.seen + int(above[0]) + 1
        self._owned, self.evidence = owned[-1], float(evidence[-1])
        self.seen += len(values)
