"""Recording every model's answers in a pass over the validation split."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import lightning as L

from kcm_lightning.calibrate.answers import ValidationAnswers
from kcm_lightning.calibrate.target import Target
from kcm_lightning.core.caption_gate import CaptionChoice
from kcm_lightning.core.confidence import Temperatures
from kcm_lightning.core.fusion import Fusion
from kcm_lightning.core.predictions import Outcome, Purpose
from kcm_lightning.core.regression import Regression
from kcm_lightning.data.base import Batch
from kcm_lightning.module import KCMModule
from kcm_lightning.utils.errors import InputError


@dataclass
class Found:
    """What was fitted on the answers.

    Args:
        temperatures: of the models' logits.
        gate: the learned gate, or "confidence" where the student's confidence routes as well.
        fusion: weights of the models; None where the large model alone is as good.
        fusion_gain: accuracy, or CIDEr, of the fused answers to all samples minus that of the large model
            alone, on samples that were left out; None where that is not known.
    """

    temperatures: Temperatures = field(default_factory=Temperatures)
    gate: Regression | Literal["confidence"] = "confidence"
    fusion: Fusion | CaptionChoice | None = None
    fusion_gain: float | None = None


class Recorder(L.Callback):
    """Keeps every model's answers to the validation split. Its kinds are those of classes and of captions.

    Args:
        module: the trained module.
        ask: whether to ask the large model, once about each sample, with the student's hint.
        required: whether it must have an answer to each. Where it need not, and lacks some, nothing is said
            of it.
        learn_gate: whether to fit a learned gate.
        fuse: whether to fit a fusion.

    Attributes:
        asked: whether the large model's answers are known.
        kinds: targets that make sense for such answers.
        has_temperatures: whether confidences have temperatures.
        unanswered: samples that the large model was asked about and gave no answer to; the student's stands.
    """

    kinds: ClassVar[tuple[str, ...]]
    has_temperatures: ClassVar[bool]

    def __init__(
        self,
        module: KCMModule,
        *,
        ask: bool,
        required: bool,
        learn_gate: bool = False,
        fuse: bool = False,
    ):
        self.module, self.asked, self.required = module, ask, required
        self.learn_gate, self.fuse = learn_gate, fuse
        self.unanswered = 0
        self.outcomes: list[Outcome] = []
        self.batches: list[dict] = []

    @classmethod
    def check(cls, module: KCMModule, target: Target) -> None:
        """Refuses a target that makes no sense for the module's answers."""
        if target.kind not in cls.kinds:
            known = "=X or ".join(cls.kinds)
            raise InputError(
                f"{target.kind}={target.value:g}: accuracy_drop is for classes, bleu_drop and cider_drop are "
                f"for captions; give {known}=X"
            )

    @property
    def purpose(self) -> Purpose:
        """What the large model is asked for: as in `fit`, where a missing answer is no error."""
        return Purpose.INFERENCE if self.required else Purpose.FIT

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Batch, *args: Any
    ) -> None:
        self.outcomes.append(outputs)
        self.batches.append(self._kept(outputs, batch))

    @abstractmethod
    def _kept(self, outcome: Outcome, batch: Batch) -> dict:
        """What must be known of a batch beside its outcome."""

    @abstractmethod
    def recorded(self) -> tuple[ValidationAnswers, Found]:
        """The answers to all samples, with what was fitted on them."""
