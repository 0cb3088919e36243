"""Recording every model's answers in a pass over the validation split."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import lightning as L
from torch import Tensor

from kcm_lightning.calibrate.answers import ValidationAnswers
from kcm_lightning.calibrate.folds import folds_of
from kcm_lightning.calibrate.target import Target
from kcm_lightning.core.caption_gate import CaptionChoice
from kcm_lightning.core.confidence import Temperatures
from kcm_lightning.core.fusion import Fusion
from kcm_lightning.core.predictions import Outcome, Purpose, take
from kcm_lightning.core.regression import Regression
from kcm_lightning.data.base import Batch
from kcm_lightning.module import KCMModule
from kcm_lightning.results import Columns
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


@dataclass
class Recorded:
    """Answers to the validation split, and what was fitted there.

    Args:
        answers: to all samples, of fits that have not seen each; or to the half that nothing was fitted on.
        found: what was fitted.
        fitted_on: answers to the samples that it was fitted on.
        regions: region of each sample of `answers`, shape `(N,)`; None for captions.
    """

    answers: ValidationAnswers
    found: Found
    fitted_on: ValidationAnswers
    regions: Tensor | None = None


class Recorder(L.Callback):
    """Keeps every model's answers to the validation split. Its kinds are those of classes and of captions.

    Args:
        module: the trained module.
        ask: whether to ask the large model, once about each sample, with the student's hint.
        required: whether it must have an answer to each. Where it need not, and lacks some, nothing is said
            of it.
        learn_gate: whether to fit a learned gate.
        fuse: whether to fit a fusion.
        halved: whether to fit all that is fitted on one half of the samples, for a promise that is tested on
            the other one.

    Attributes:
        asked: whether the large model's answers are known.
        kinds: targets of quality that make sense for such answers.
        measure: the quality of such answers.
        first_batch: a batch to measure costs on.
        has_temperatures: whether confidences have temperatures.
        unanswered: samples that the large model was asked about and gave no answer to; the student's stands.
    """

    kinds: ClassVar[tuple[str, ...]]
    measure: ClassVar[str]
    first_batch: Batch
    has_temperatures: ClassVar[bool]

    def __init__(
        self,
        module: KCMModule,
        *,
        ask: bool,
        required: bool,
        learn_gate: bool = False,
        fuse: bool = False,
        halved: bool = False,
    ):
        self.module, self.asked, self.required = module, ask, required
        self.learn_gate, self.fuse, self.halved = learn_gate, fuse, halved
        self.unanswered = 0
        self.outcomes: list[Outcome] = []
        self.batches: list[dict] = []

    @classmethod
    def check(cls, module: KCMModule, target: Target) -> None:
        """Refuses a target that makes no sense for the module's answers."""
        if target.is_quality and target.kind not in cls.kinds:
            known = "=X or ".join(("lm_rate", *cls.kinds))
            raise InputError(
                f"{target.kind}={target.value:g}: accuracy and accuracy_drop are for classes, bleu_drop and "
                f"cider_drop are for captions; give {known}=X"
            )

    @property
    def purpose(self) -> Purpose:
        """What the large model is asked for: as in `fit`, where a missing answer is no error."""
        return Purpose.INFERENCE if self.required else Purpose.FIT

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Batch, *args: Any
    ) -> None:
        if not self.outcomes:
            self.first_batch = batch
        self.outcomes.append(outputs)
        self.batches.append(self._kept(outputs, batch))

    @abstractmethod
    def _kept(self, outcome: Outcome, batch: Batch) -> dict:
        """What must be known of a batch beside its outcome."""

    def recorded(self) -> Recorded:
        """What has been seen, with what was fitted on it."""
        columns = self._columns()
        if not self.halved:
            answers, found = self._fitted(columns)
            return Recorded(answers, found, answers, self._regions(columns))
        first, second = next(folds_of(len(columns["index"]), folds=2))
        fitted_on, found = self._fitted(take(columns, first.nonzero().squeeze(1)))
        others = take(columns, second)
        return Recorded(self._answers(others, found), found, fitted_on, self._regions(others))

    def _regions(self, columns: Columns) -> Tensor | None:
        """Region of each sample."""
        return None

    @abstractmethod
    def _columns(self) -> Columns:
        """What was kept of all samples, after a look at whom the large model has answered."""

    @abstractmethod
    def _fitted(self, columns: Columns) -> tuple[ValidationAnswers, Found]:
        """What is fitted on samples, and the answers to them of fits that have not seen each."""

    @abstractmethod
    def _answers(self, columns: Columns, found: Found) -> ValidationAnswers:
        """The answers to samples with what was fitted on others."""
