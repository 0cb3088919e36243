"""Recording captions, which are better or worse."""

from typing import cast

import torch

from kcm_lightning.calibrate.answer_recorder import Found, Recorder
from kcm_lightning.calibrate.answers import CaptionAnswers
from kcm_lightning.calibrate.target import Target
from kcm_lightning.core.predictions import Outcome, Prediction, Query
from kcm_lightning.data.base import Batch
from kcm_lightning.metrics.caption_scores import require_java, tokenize
from kcm_lightning.metrics.image_scores import image_scores
from kcm_lightning.module import KCMCaptions, KCMModule
from kcm_lightning.results import gather


class CaptionRecorder(Recorder):
    """Keeps what the models say of each image."""

    kinds = ("lm_rate", "bleu_drop", "cider_drop")
    has_temperatures = False
    module: KCMCaptions

    @classmethod
    def check(cls, module: KCMModule, target: Target) -> None:
        super().check(module, target)
        if cast(KCMCaptions, module).scoring == "ptb":
            require_java("--model.scoring=words")

    def _kept(self, outcome: Outcome, batch: Batch) -> dict:
        module = self.module
        with module.trainer.precision_plugin.forward_context():
            shared = module.probability_of(outcome.judge_prediction, batch["small"])
        pairs = zip(outcome.judge_prediction, outcome.student_prediction, strict=True)
        same = torch.tensor([one == other for one, other in pairs], device=shared.device)
        kept = {
            "index": batch["index"],
            "student_doubt": (outcome.student_confidence - shared).clamp_min(0).masked_fill(same, 0.0),
            "references": module.data.references(batch["index"]),
        }
        if self.asked:
            student = Prediction(outcome.student_prediction, outcome.student_confidence)
            hint = student if module.teacher.uses_hint else None
            query = Query(batch["large"], hint, batch["index"], self.purpose)
            kept["large_captions"] = module.teacher.answer(query).prediction
        return kept

    def recorded(self) -> tuple[CaptionAnswers, Found]:
        columns = gather(self.outcomes, self.batches)
        captions = {who: columns[f"{who}_prediction"] for who in ("judge", "student")}
        if self.asked:
            large = columns["large_captions"]
            self.unanswered = sum(caption is None for caption in large)
            self.asked = self.required or None not in large
        if self.asked:  # where the large model has no answer, the student's stands
            pairs = zip(large, captions["student"], strict=True)
            captions["teacher"] = [own if caption is None else caption for caption, own in pairs]
        tokenized = tokenize(captions, columns["references"], self.module.scoring)
        scores = {who: image_scores(own, tokenized.references) for who, own in tokenized.systems.items()}
        answers = CaptionAnswers(
            judge_confidence=columns["judge_confidence"],
            gate_score=columns["student_confidence"],
            student_doubt=columns["student_doubt"],
            judge=scores["judge"],
            student=scores["student"],
            teacher=scores.get("teacher", scores["student"]),
        )
        return answers, Found()
