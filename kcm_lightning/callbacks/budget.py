"""A budget for `predict`, in calls or money, that lasts for all samples."""

from typing import Any

import lightning as L

from kcm_lightning.core.pacing import Pace
from kcm_lightning.utils.console import say
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.ranges import check_number


class Budget(L.Callback):
    """Sets the pace of a module before it predicts, and says at the end what was spent.

    Args:
        calls: how often the large model may be called at most; None for a limit in money alone.
        money: what the calls may cost, by the mean price of the answers so far; None for a limit in calls
            alone.

    Raises:
        InputError: one is no number of at least 0.
    """

    def __init__(self, calls: int | None, money: float | None):
        for name, value in (("--calls", calls), ("--money", money)):
            if value is not None:
                check_number(name, value, low=0)
        self.calls, self.money = calls, money

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        calls = self.calls
        if self.money is not None:
            affordable = int(self.money / _price(pl_module.teacher.usage()))
            calls = affordable if calls is None else min(calls, affordable)
        if trainer.world_size > 1:
            raise InputError("--calls and --money are for one process: leave --trainer.devices at 1")
        samples = sum(len(rows) for rows in trainer.predict_dataloaders.sampler)
        pl_module.pace = Pace(calls=calls or 0, samples=samples)

    def on_predict_end(self, trainer: Any, pl_module: Any) -> None:
        pace = pl_module.pace
        say(f"budget: {pace.called:,} of {pace.calls:,} calls of the large model for {pace.seen:,} samples")
        pl_module.pace = None


def _price(usage: dict[str, Any]) -> float:
    """Mean price of an answer so far.

    Raises:
        InputError: none is known.
    """
    paid, answers = usage.get("money"), usage.get("requests")
    if not paid or not answers:
        raise InputError(
            "--money: no price of an answer is known yet; give --calls, or run `calibrate` first"
        )
    return paid / answers
