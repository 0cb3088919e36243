"""Making a budget of calls last: the student's threshold follows what is left."""

from collections.abc import Callable

import torch
from torch import Tensor

_REMEMBERED = 10_000  # scores
_DAY = 86_400.0  # seconds


class Pace:
    """Lowers the threshold of the student's gate, so that calls are spread evenly over the samples to come.

    The share of calls that is left for a sample, calls by samples to come, is a quantile of the scores that
    were seen last: those below it are the ones to ask about. The calibrated threshold is never exceeded, so
    that nothing is called for that would not have been called for without a budget.

    Args:
        calls: how many calls there are.
        samples: how many samples are to come; None for a stream, whose pace is measured.
        per_day: whether the calls are there anew each day.
        clock: tells the time in seconds, as `time.monotonic`; needed for a stream, and for days.

    >>> pace = Pace(calls=1, samples=4)
    >>> pace.threshold_for(torch.tensor([0.9, 0.1, 0.5, 0.7]), calibrated=0.8)
    0.5
    """

    def __init__(
        self,
        calls: int,
        samples: int | None = None,
        per_day: bool = False,
        clock: Callable[[], float] | None = None,
    ):
        if clock is None and (samples is None or per_day):
            raise ValueError("a stream, or a budget of a day, needs a clock")
        clock = clock or (lambda: 0.0)
        self.calls, self.samples, self.per_day, self._clock = calls, samples, per_day, clock
        self.called = self.seen = 0
        self._scores = torch.empty(0)
        self._began = clock()
        self._day_began, self._called_before = self._began, 0

    @property
    def calls_left(self) -> int:
        """Calls that may still be made; with a day's budget, today."""
        if self.per_day and self._clock() - self._day_began >= _DAY:
            days = (self._clock() - self._day_began) // _DAY
            self._day_began, self._called_before = self._day_began + days * _DAY, self.called
        return max(0, self.calls - (self.called - self._called_before))

    def threshold_for(self, scores: Tensor, calibrated: float | None) -> float:
        """The student's threshold for a batch.

        Args:
            scores: what the student's gate compares, shape `(B,)`; NaN of samples that do not come to it.
            calibrated: the threshold without a budget; None for a gate that keeps nothing.
        """
        scores = scores.detach().float().cpu().nan_to_num(float("inf"))
        self._scores = torch.cat([self._scores, scores])[-_REMEMBERED:]
        left, to_come = self.calls_left, self._to_come(len(scores))
        ordered = self._scores.sort().values
        place = int(min(1.0, left / to_come) * len(ordered))
        limits = [float("inf") if calibrated is None else calibrated]
        limits += [
            own[at].item() for own, at in ((ordered, place), (scores.sort().values, left)) if at < len(own)
        ]
        return min(1.0, *limits) if min(limits) < float("inf") else float("inf")

    def _to_come(self, batch: int) -> float:
        """Samples that the calls are to last for, this batch among them."""
        if self.samples is not None:
            return max(batch, self.samples - self.seen)
        elapsed = max(1e-9, self._clock() - self._began)
        rest = _DAY - (self._clock() - self._day_began)
        return max(batch, (self.seen + batch) / elapsed * rest)

    def spend(self, samples: int, called: int) -> None:
        """Takes note of a batch: how many samples it had, and how many of them were called for."""
        self.seen, self.called = self.seen + samples, self.called + called
