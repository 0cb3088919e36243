"""Recording answers that are right or wrong."""

import torch

from kcm_lightning.calibrate.answer_recorder import Recorder
from kcm_lightning.calibrate.answers import ClassAnswers
from kcm_lightning.calibrate.temperatures import fit_temperature
from kcm_lightning.core.confidence import Temperatures, probabilities
from kcm_lightning.core.predictions import Outcome, Query
from kcm_lightning.core.pruning import pruned
from kcm_lightning.data.base import Batch
from kcm_lightning.results import gather


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

    def recorded(self) -> tuple[ClassAnswers, Temperatures]:
        columns, pruning = gather(self.outcomes, self.batches), self.module.pruning
        target, student_logits = columns["target"], columns["student_logits"]
        temperatures = Temperatures(
            judge=fit_temperature(columns["judge_logits"], target),
            student=fit_temperature(student_logits, target),
        )
        judge_right, student_right = (columns[f"{who}_prediction"] == target for who in ("judge", "student"))
        teacher_right = student_right  # where the large model has no answer, the student's stands
        if self.asked:
            believed = columns["teacher_probabilities"]
            answered = ~believed.isnan().any(-1)
            self.unanswered = int((~answered).sum())
            self.asked = self.required or bool(answered.all())
        if self.asked:
            log_probs = believed[answered].clamp_min(1e-30).log()
            temperatures.teacher = fit_temperature(log_probs, target[answered])
            teacher_right = torch.where(answered, believed.nan_to_num().argmax(-1) == target, student_right)
        # what the student believes itself: of a class that it must leave to others, it may well agree with
        # the judge
        believed = probabilities(student_logits, temperatures.student)
        own, judges = (
            believed.gather(-1, columns[f"{who}_prediction"].unsqueeze(-1)).squeeze(-1)
            for who in ("student", "judge")
        )
        student = probabilities(pruned(student_logits, pruning), temperatures.student)
        answers = ClassAnswers(
            judge_confidence=probabilities(columns["judge_logits"], temperatures.judge).amax(-1),
            student_confidence=student.amax(-1),
            student_doubt=(own - judges).clamp_min(0),
            judge_right=judge_right,
            student_right=student_right,
            teacher_right=teacher_right,
        )
        return answers, temperatures
