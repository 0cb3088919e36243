"""Recording captions, which are better or worse."""

from dataclasses import dataclass

import lightning as L
import torch
from torch import Tensor

from kcm_lightning.calibrate.recorder import Recorder
from kcm_lightning.collaboration import Outcome, Said
from kcm_lightning.gating import Temperatures
from kcm_lightning.metrics.captions import tokenize
from kcm_lightning.metrics.image_scores import ImageScores, image_scores, score_difference
from kcm_lightning.results import gather
from kcm_lightning.thresholds import Recorded


@dataclass
class RecordedCaptions(Recorded):
    """Recorded captions, by what each brings to the scores.

    Args:
        judge_confidence, student_confidence, student_doubt: as of `Recorded`.
        judge, student, teacher: of each model's captions.
    """

    judge: ImageScores
    student: ImageScores
    teacher: ImageScores

    def rows(self, rows: Tensor) -> "RecordedCaptions":
        confidences = (values[rows] for values in (self.judge_confidence, self.student_confidence, self.student_doubt))
        return RecordedCaptions(*confidences, *(scores.rows(rows) for scores in self._systems()))

    def _systems(self) -> list[ImageScores]:
        return [self.judge, self.student, self.teacher]

    def _mixed(self, routes: Tensor) -> ImageScores:
        return ImageScores.chosen(self._systems(), routes)

    def quality(self, routes: Tensor, measure: str) -> float:
        return self._mixed(routes).scores()[measure]

    def intervals(self, routes: Tensor, level: float) -> dict[str, dict]:
        mixed = self._mixed(routes)
        against = score_difference(mixed, self.teacher, level)
        result = {}
        for name, figures in against.items():
            mean = figures.pop("difference")
            result[f"{name}_minus_teacher"] = {"mean": mean, **figures}
        return result


class CaptionRecorder(Recorder):
    """Keeps what the models say of each picture."""

    def _kept(self, module: L.LightningModule, outcome: Outcome, batch: dict) -> dict:
        with module.trainer.precision_plugin.forward_context():
            shared = module.probability_of(outcome.judge_prediction, batch["small"])
        said = zip(outcome.judge_prediction, outcome.student_prediction, strict=True)
        same = torch.tensor([one == other for one, other in said], device=shared.device)
        kept = {
            "index": batch["index"],
            "student_doubt": (outcome.student_confidence - shared).clamp_min(0).masked_fill(same, 0.0),
            "references": module.references(batch["index"]),
        }
        self.tokenizer = module.scoring
        if self.asked:
            student = Said(outcome.student_prediction, outcome.student_confidence)
            hint = student if module.teacher.uses_hint else None
            answer = module.teacher.answer(batch["large"], hint, batch["index"], in_fit=not self.required)
            kept["large_captions"] = answer.prediction
        return kept

    def recorded(self) -> tuple[RecordedCaptions, Temperatures]:
        columns = gather(self.outcomes, self.batches)
        said = {who: columns[f"{who}_prediction"] for who in ("judge", "student")}
        if self.asked:
            large = columns["large_captions"]
            self.asked = self.required or None not in large
        if self.asked:  # where the large model has no answer, the student's stands
            said["teacher"] = [own if caption is None else caption for caption, own in zip(large, said["student"], strict=True)]
        tokenized = tokenize(said, columns["references"], self.tokenizer)
        scores = {who: image_scores(own, tokenized.references) for who, own in tokenized.systems.items()}
        confidences = (columns[name] for name in ("judge_confidence", "student_confidence", "student_doubt"))
        large = scores.get("teacher", scores["student"])
        return RecordedCaptions(*confidences, scores["judge"], scores["student"], large), Temperatures()
