"""Recording answers that are right or wrong."""

from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.calibrate.answer_recorder import Found, Recorder
from kcm_lightning.calibrate.answers import ClassAnswers
from kcm_lightning.calibrate.fit_fusion import fit_fusion, weighted
from kcm_lightning.calibrate.fit_gate import fit_gate
from kcm_lightning.calibrate.temperatures import fit_temperature
from kcm_lightning.core.confidence import Temperatures, probabilities, tempered
from kcm_lightning.core.fusion import Fusion, fusion_features
from kcm_lightning.core.learned_gate import LearnedGate, gate_features
from kcm_lightning.core.predictions import Outcome, Query
from kcm_lightning.core.pruning import pruned
from kcm_lightning.data.base import Batch
from kcm_lightning.results import Columns, gather

_FEWEST = 20  # samples that the weights of a fusion are fitted on


class ClassRecorder(Recorder):
    """Keeps what the models believe of each class."""

    kinds = ("accuracy", "accuracy_drop")
    measure = "accuracy"
    has_temperatures = True

    def _kept(self, outcome: Outcome, batch: Batch) -> dict:
        kept = {"target": batch["target"], "index": batch["index"]}
        teacher, module = self.module.teacher, self.module
        if self.asked:
            hint = None
            if teacher.uses_hint and outcome.student_logits is not None:
                own = pruned(outcome.student_logits, module.pruning)
                hint = probabilities(own, module.temperatures.student)
            query = Query(batch["large"], hint, batch["index"], self.purpose)
            kept["teacher_probabilities"] = teacher.distribution(query)[:, 0]
        return kept

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        self.region_of_class = next(iter(trainer.datamodule.regions.values()))

    def _regions(self, columns: Columns) -> Tensor | None:
        return self.region_of_class[columns["target"]]

    def _columns(self) -> Columns:
        columns = gather(self.outcomes, self.batches)
        if self.asked:
            self.unanswered = int((~_answered(columns)).sum())
            self.asked = self.required or not self.unanswered
        return columns

    def _fitted(self, columns: Columns) -> tuple[ClassAnswers, Found]:
        target = columns["target"]
        found = Found(
            Temperatures(
                judge=fit_temperature(columns["judge_logits"], target),
                student=fit_temperature(columns["student_logits"], target),
            )
        )
        if self.asked:
            answered = _answered(columns)
            log_probs = columns["teacher_probabilities"][answered].clamp_min(1e-30).log()
            found.temperatures.teacher = fit_temperature(log_probs, target[answered])
        answers = self._answers(columns, found)
        if self.asked and self.fuse:
            self._fit_fusion(answers, columns, found)
        if self.learn_gate:
            self._fit_gate(answers, columns, found)
        return answers, found

    def _answers(self, columns: Columns, found: Found) -> ClassAnswers:
        target, temperatures = columns["target"], found.temperatures
        judge_right, student_right = (columns[f"{who}_prediction"] == target for who in ("judge", "student"))
        teacher_right, differs = student_right, None
        if self.asked:  # where the large model has no answer, the student's stands
            believed = columns["teacher_probabilities"].nan_to_num().argmax(-1)
            own = torch.where(_answered(columns), believed, columns["student_prediction"])
            teacher_right = own == target
            smalls = [columns[f"{who}_prediction"] for who in ("judge", "student")]
            differs = torch.stack([*smalls, own], dim=1) != own.unsqueeze(1)
        answers = ClassAnswers(
            judge_confidence=probabilities(columns["judge_logits"], temperatures.judge).amax(-1),
            gate_score=probabilities(self._answering(columns), temperatures.student).amax(-1),
            student_doubt=_doubt(columns, temperatures.student),
            judge_right=judge_right,
            student_right=student_right,
            teacher_right=teacher_right,
            fused_right=teacher_right,
            differs=differs,
        )
        if isinstance(found.gate, LearnedGate):
            answers.gate_score = found.gate.score(self._gate_features(columns))
        if isinstance(found.fusion, Fusion):
            features, answered = self._fusion_features(columns, found)
            fused = weighted(features.new_tensor(astuple(found.fusion)), features)
            self._take_fused(answers, columns, answered, fused.argmax(-1))
        return answers

    def _take_fused(self, answers: ClassAnswers, columns: Columns, answered: Tensor, fused: Tensor) -> None:
        """Puts the fused answers in place of the large model's, where it has any."""
        answers.fused_right = answers.teacher_right.clone()
        answers.fused_right[answered] = fused == columns["target"][answered]
        assert answers.differs is not None
        answers.differs[answered, 2] = fused != columns["teacher_probabilities"][answered].argmax(-1)

    def _fit_fusion(self, answers: ClassAnswers, columns: Columns, found: Found) -> None:
        """Fits weights of the models, and takes them where they help."""
        features, answered = self._fusion_features(columns, found)
        if answered.sum() < _FEWEST:
            return
        target = columns["target"][answered]
        fitted = fit_fusion(features, target)
        found.fusion, found.fusion_gain = fitted.weights, fitted.gain
        self._take_fused(answers, columns, answered, fitted.prediction)

    def _fit_gate(self, answers: ClassAnswers, columns: Columns, found: Found) -> None:
        """Fits a learned gate, and takes it unless the confidence foretells right answers better."""
        fitted = fit_gate(LearnedGate, self._gate_features(columns), answers.student_right)
        if fitted is None:
            return
        more = _surprise(fitted[1], answers.student_right) - _surprise(
            answers.gate_score, answers.student_right
        )
        if more.mean() < more.std() / len(more) ** 0.5:
            found.gate, answers.gate_score = fitted

    def _fusion_features(self, columns: Columns, found: Found) -> tuple[Tensor, Tensor]:
        """What fusion weighs, of the samples that the large model has an answer to, and which these are."""
        answered, temperatures = _answered(columns), found.temperatures
        features = fusion_features(
            teacher=tempered(columns["teacher_probabilities"][answered], temperatures.teacher),
            judge_logits=columns["judge_logits"][answered] / temperatures.judge,
            student_logits=columns["student_logits"][answered] / temperatures.student,
            log_counts=self.module.log_counts.cpu(),
        )
        return features, answered

    def _gate_features(self, columns: Columns) -> Tensor:
        """What a learned gate weighs."""
        return gate_features(
            judge_logits=columns["judge_logits"],
            student_logits=self._answering(columns),
            log_counts=self.module.log_counts.cpu(),
        )

    def _answering(self, columns: Columns) -> Tensor:
        """The logits that the student answers by."""
        return pruned(columns["student_logits"], self.module.pruning)


def _answered(columns: Columns) -> Tensor:
    """Which samples the large model has an answer to, shape `(N,)`."""
    return ~columns["teacher_probabilities"].isnan().any(-1)


def _surprise(probability: Tensor, event: Tensor) -> Tensor:
    """Negative log-likelihood of each event, shape `(N,)`."""
    return -torch.where(event, probability, 1 - probability).double().clamp_min(1e-6).log()


def _doubt(columns: Columns, temperature: float) -> Tensor:
    """How much more probable than the judge's answer the student finds its own, at least 0.

    It is what the student believes itself: of a class that it must leave to others, it may well agree with
    the judge.
    """
    believed = probabilities(columns["student_logits"], temperature)
    own, judges = (
        believed.gather(-1, columns[f"{who}_prediction"].unsqueeze(-1)).squeeze(-1)
        for who in ("student", "judge")
    )
    return (own - judges).clamp_min(0)
