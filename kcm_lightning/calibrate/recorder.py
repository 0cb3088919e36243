"""What every recorder of a validation pass does."""

from abc import abstractmethod

import lightning as L

from kcm_lightning.collaboration import Outcome
from kcm_lightning.gating import Temperatures
from kcm_lightning.thresholds import Recorded


class Recorder(L.Callback):
    """Keeps every model's answers to the validation split.

    Args:
        ask: whether to ask the large model, once about each sample, with the student's hint.
        required: whether it must have an answer to each. Where it need not, and lacks some, nothing is said of it.

    Attributes:
        asked: whether the large model's answers are known.
    """

    def __init__(self, ask: bool, required: bool):
        self.asked, self.required = ask, required
        self.outcomes: list[Outcome] = []
        self.batches: list[dict] = []

    def on_validation_batch_end(self, trainer, module, outputs: Outcome, batch: dict, *args) -> None:
        self.outcomes.append(outputs)
        self.batches.append(self._kept(module, outputs, batch))

    @abstractmethod
    def _kept(self, module: L.LightningModule, outcome: Outcome, batch: dict) -> dict:
        """What must be known of a batch beside its outcome."""

    @abstractmethod
    def recorded(self) -> tuple[Recorded, Temperatures]:
        """The answers to all samples, temperatures applied, and the temperatures."""
