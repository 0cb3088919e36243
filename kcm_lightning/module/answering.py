"""What judge, student and large model answer together (Algorithm 2), and how good that is."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from kcm_lightning.core.caption_gate import CaptionChoice
from kcm_lightning.core.collaboration import Ask, Gates, Roles, class_predictor, collaborate
from kcm_lightning.core.confidence import Temperatures
from kcm_lightning.core.fusion import Fusion
from kcm_lightning.core.learned_gate import LearnedGate
from kcm_lightning.core.pacing import Pace
from kcm_lightning.core.predictions import Outcome, Prediction, Purpose
from kcm_lightning.core.pruning import Pruning
from kcm_lightning.core.regression import Regression
from kcm_lightning.core.routing import Route, SecondGate, Thresholds
from kcm_lightning.data.base import Batch
from kcm_lightning.metrics import LMRate, RegionAccuracy
from kcm_lightning.module.optimizers import check_finite
from kcm_lightning.module.two_phases import TwoPhases
from kcm_lightning.utils.errors import InputError


class Answering(TwoPhases):
    """Answers samples by judge, student and large model, and keeps the score.

    A subclass sets the attributes: those of a module's options, and the metrics.
    """

    teacher: Any
    thresholds: Thresholds
    temperatures: Temperatures
    second_gate: SecondGate
    pruning: Pruning | None
    compare: bool
    gate: Regression | Literal["confidence"]
    fusion: Fusion | CaptionChoice | None
    class_counts: Tensor
    accuracy: Mapping[str, RegionAccuracy]
    lm_rate: LMRate
    shadow: float = 0.0  # of what it answers, see `Gates`; and what makes a budget last
    pace: Pace | None = None

    def _set_gate(
        self, gate: Regression | Literal["confidence"], fusion: Fusion | CaptionChoice | None
    ) -> None:
        if gate != "confidence" and self.second_gate == "teacher":
            raise InputError(
                "--model.gate: a learned gate scores the student's answers; with second_gate=teacher, it is "
                "the large model's confidence that opens the gate: set gate to confidence"
            )
        self.gate, self.fusion = gate, fusion

    @property
    def current_student(self) -> nn.Module:
        """The student; before its distillation the judge, whose copy it starts as."""
        return self.student if self.student_started else self.judge

    @property
    def roles(self) -> Roles:
        """Judge, student and large model, with their temperatures of now."""
        return Roles(
            judge=class_predictor(self.judge, self.temperatures.judge),
            student=class_predictor(self.current_student, self.temperatures.student, self.pruning),
            teacher=self.teacher,
        )

    @property
    def log_counts(self) -> Tensor:
        """Log of each class's number of training samples, which gate and fusion need; shape `(V,)`."""
        return self.class_counts.clamp_min(1).log()

    @property
    def gates(self) -> Gates:
        """What decides now who answers."""
        learned = None if self.gate == "confidence" else self.gate
        of_classes = isinstance(learned, LearnedGate) or isinstance(self.fusion, Fusion)  # not of captions
        return Gates(
            thresholds=self.thresholds,
            temperatures=self.temperatures,
            second_gate=self.second_gate,
            learned=learned,
            fusion=self.fusion,
            log_counts=self.log_counts if of_classes else None,
            pruning=self.pruning,
            shadow=self.shadow,
            pace=self.pace,
        )

    @property
    def ask(self) -> Ask:
        """Who is asked about samples that do not need it."""
        return Ask.EVERYONE if self.compare else Ask.NOBODY

    # what Lightning hands on to callbacks is anything, though its types say otherwise
    def validation_step(self, batch: Batch, batch_idx: int) -> Outcome | dict:  # type: ignore[override]
        fitting = self.trainer.state.fn == "fit"  # then the large model is asked about routed samples alone
        if fitting and (not self.student_started or self.teacher.paid):
            asked = ("judge", "student") if self.student_started else ("judge",)
            said: dict[str, Prediction] = {who: getattr(self.roles, who)(batch["small"]) for who in asked}
            for who, own in said.items():
                self._update_score(who, own.prediction, batch)
            return said
        ask, purpose = (Ask.STUDENT, Purpose.FIT) if fitting else (self.ask, Purpose.INFERENCE)
        outcome = collaborate(batch, roles=self.roles, gates=self.gates, ask=ask, purpose=purpose)
        self._update_metrics(outcome, batch, ask)
        return outcome

    def test_step(self, batch: Batch, batch_idx: int) -> Outcome:  # type: ignore[override]  # as above
        outcome = collaborate(batch, roles=self.roles, gates=self.gates, ask=self.ask)
        self._update_metrics(outcome, batch, self.ask)
        return outcome

    def predict_step(self, batch: Batch, batch_idx: int) -> Outcome:
        return collaborate(batch, roles=self.roles, gates=self.gates)

    # ---------------------------------------------------------------- metrics

    def _update_metrics(self, outcome: Outcome, batch: Batch, ask: Ask) -> None:
        self._update_score("judge", outcome.judge_prediction, batch)
        self._update_score("kcm", outcome.prediction, batch)
        # else it was only asked about the hard ones
        if ask is not Ask.NOBODY or self.thresholds.judge is None:
            self._update_score("student", outcome.student_prediction, batch)
        self.lm_rate.update(outcome.called, outcome.route == Route.TEACHER)

    def _update_score(self, who: str, prediction: Any, batch: Batch) -> None:
        self.accuracy[who].update(prediction, batch["target"])

    def on_validation_epoch_end(self) -> None:
        if self.trainer.state.fn == "fit":
            check_finite(self.parameters(), "the weights are", self.global_step, self.current_epoch)
        self._log_metrics("val")

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _log_metrics(self, split: str) -> None:
        values = self._scores(split)
        if self.trainer.state.fn == "fit" and not self.student_started:  # it is the judge's copy until then
            values |= {name.replace("/judge", "/student"): value for name, value in values.items()}
        if self.lm_rate.update_called:
            values |= {f"{split}/lm_rate_{kind}": value for kind, value in self.lm_rate.compute().items()}
            self.lm_rate.reset()
        if "selection" in values:  # for checkpoints, not for people
            self.log("selection", values.pop("selection"), logger=False)
        self.log_dict(values)

    def _scores(self, split: str) -> dict[str, Any]:
        """What the metrics have gathered, and by "selection" which checkpoint is best."""
        values: dict[str, Any] = {}
        for who, metric in self.accuracy.items():
            if metric.update_called:
                values |= {f"{split}/{who}_{region}": value for region, value in metric.compute().items()}
                metric.reset()
        if self.trainer.state.fn == "fit":  # a distilled student always beats a judge alone
            who = "student" if self.student_started else "judge"
            values["selection"] = self.student_started.item() + values[f"val/{who}_overall"]
        return values
