"""Recording answers that are right or wrong."""

import lightning as L
import torch

from kcm_lightning.calibrate.recorder import Recorder
from kcm_lightning.collaboration import Outcome
from kcm_lightning.gating import Temperatures, probabilities, pruned
from kcm_lightning.results import gather
from kcm_lightning.thresholds import RecordedClasses, fit_temperature


class ClassRecorder(Recorder):
    """Keeps what the models believe of each class."""

    def _kept(self, module: L.LightningModule, outcome: Outcome, batch: dict) -> dict:
        kept = {"target": batch["target"], "index": batch["index"]}
        self.pruning = module.pruning
        if self.asked:
            own = pruned(outcome.student_logits, self.pruning)
            hint = probabilities(own, module.temperatures.student) if module.teacher.uses_hint else None
            ask = module.teacher.distribution if self.required else module.teacher.teach
            kept["teacher_probabilities"] = ask(batch["large"], hint, batch["index"])[:, 0]
        return kept

    def recorded(self) -> tuple[RecordedClasses, Temperatures]:
        columns = gather(self.outcomes, self.batches)
        temperatures = Temperatures(
            fit_temperature(columns["judge_logits"], columns["target"]),
            fit_temperature(columns["student_logits"], columns["target"]),
        )
        judge_right, student_right = (columns[f"{who}_prediction"] == columns["target"] for who in ("judge", "student"))
        teacher_right = student_right  # where the large model has no answer, the student's stands
        if self.asked:
            said = columns["teacher_probabilities"]
            answered = ~said.isnan().any(-1)
            self.asked = self.required or bool(answered.all())
        if self.asked:
            temperatures.teacher = fit_temperature(said[answered].clamp_min(1e-30).log(), columns["target"][answered])
            teacher_right = torch.where(answered, said.nan_to_num().argmax(-1) == columns["target"], student_right)
        confidence = probabilities(pruned(columns["student_logits"], self.pruning), temperatures.student).amax(-1)
        # what the student believes itself: of a class that it must leave to others, it may well agree with the judge
        believed = probabilities(columns["student_logits"], temperatures.student)
        own, judges = (
            believed.gather(-1, columns[f"{who}_prediction"].unsqueeze(-1)).squeeze(-1) for who in ("student", "judge")
        )
        answers = RecordedClasses(
            probabilities(columns["judge_logits"], temperatures.judge).amax(-1),
            confidence,
            (own - judges).clamp_min(0),
            judge_right,
            student_right,
            teacher_right,
        )
        return answers, temperatures
