"""Recording answers that are right or wrong."""

import torch
from torch import Tensor

from kcm_lightning.calibrate.answer_recorder import Found, Recorder
from kcm_lightning.calibrate.answers import ClassAnswers
from kcm_lightning.calibrate.fit_fusion import fit_fusion
from kcm_lightning.calibrate.fit_gate import fit_gate
from kcm_lightning.calibrate.temperatures import fit_temperature
from kcm_lightning.core.confidence import Temperatures, probabilities, tempered
from kcm_lightning.core.fusion import fusion_features
from kcm_lightning.core.learned_gate import LearnedGate, gate_features
from kcm_lightning.core.predictions import Outcome, Query
from kcm_lightning.core.pruning import pruned
from kcm_lightning.data.base import Batch
from kcm_lightning.metrics import routing_curve
from kcm_lightning.results import Columns, gather

_FEWEST = 20  # samples that the weights of a fusion are fitted on


class ClassRecorder(Recorder):
    """Keeps what the models believe of each class."""

    kinds = ("lm_rate", "accuracy_drop")
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

    def recorded(self) -> tuple[ClassAnswers, Found]:
        columns = gather(self.outcomes, self.batches)
        target, student_logits = columns["target"], columns["student_logits"]
        found = Found(
            Temperatures(
                judge=fit_temperature(columns["judge_logits"], target),
                student=fit_temperature(student_logits, target),
            )
        )
        judge_right, student_right = (columns[f"{who}_prediction"] == target for who in ("judge", "student"))
        teacher_right = fused_right = student_right
        if self._know_large_model(columns):
            teacher_right, fused_right = self._of_large_model(columns, student_right, found)
        answers = ClassAnswers(
            judge_confidence=probabilities(columns["judge_logits"], found.temperatures.judge).amax(-1),
            gate_score=self._scores(columns, student_right, fused_right, found),
            student_doubt=_doubt(columns, found.temperatures.student),
            judge_right=judge_right,
            student_right=student_right,
            teacher_right=teacher_right,
            fused_right=fused_right,
        )
        return answers, found

    def _know_large_model(self, columns: Columns) -> bool:
        """Whether the large model has an answer to each sample, or to as many as it must."""
        if self.asked:
            unanswered = columns["teacher_probabilities"].isnan().any(-1)
            self.unanswered = int(unanswered.sum())
            self.asked = self.required or not unanswered.any()
        return self.asked

    def _of_large_model(self, columns: Columns, student_right: Tensor, found: Found) -> tuple[Tensor, Tensor]:
        """Whether its own answers and the fused ones are right; where it has none, the student's stands."""
        believed, target = columns["teacher_probabilities"], columns["target"]
        answered = ~believed.isnan().any(-1)
        log_probs = believed[answered].clamp_min(1e-30).log()
        found.temperatures.teacher = fit_temperature(log_probs, target[answered])
        teacher_right = torch.where(answered, believed.nan_to_num().argmax(-1) == target, student_right)
        if not self.fuse or answered.sum() < _FEWEST:
            return teacher_right, teacher_right
        features = fusion_features(
            teacher=tempered(believed[answered], found.temperatures.teacher),
            judge_logits=columns["judge_logits"][answered] / found.temperatures.judge,
            student_logits=columns["student_logits"][answered] / found.temperatures.student,
            log_counts=self.module.log_counts.cpu(),
        )
        fitted = fit_fusion(features, target[answered])
        found.fusion, found.fusion_gain = fitted.weights, fitted.gain
        fused_right = teacher_right.clone()
        fused_right[answered] = fitted.prediction == target[answered]
        return teacher_right, fused_right

    def _scores(self, columns: Columns, student_right: Tensor, fused_right: Tensor, found: Found) -> Tensor:
        """What the student's gate is to compare; of a learned gate, on samples that it was not fitted on."""
        own = pruned(columns["student_logits"], self.module.pruning)
        confidence = probabilities(own, found.temperatures.student).amax(-1)
        if not self.learn_gate:
            return confidence
        features = gate_features(
            judge_logits=columns["judge_logits"], student_logits=own, log_counts=self.module.log_counts.cpu()
        )
        routed_right = fused_right if self.asked else torch.ones_like(student_right)
        fitted = fit_gate(LearnedGate, features, student_right)
        if fitted is None:
            return confidence
        by_score, by_confidence = (
            routing_curve(score, student_right, routed_right)[1].mean() for score in (fitted[1], confidence)
        )
        if by_score <= by_confidence:
            return confidence
        found.gate, scores = fitted
        return scores


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
