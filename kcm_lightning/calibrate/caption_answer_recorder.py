"""Recording captions, which are better or worse."""

from typing import cast

import torch
from torch import Tensor

from kcm_lightning.calibrate.answer_recorder import Found, Recorder
from kcm_lightning.calibrate.answers import CaptionAnswers
from kcm_lightning.calibrate.fit_gate import fit_gate
from kcm_lightning.calibrate.target import Target
from kcm_lightning.core.caption_gate import CaptionChoice, CaptionGate, choice_features
from kcm_lightning.core.predictions import Outcome, Prediction, Query
from kcm_lightning.data.base import Batch
from kcm_lightning.metrics.caption_scores import require_java, tokenize
from kcm_lightning.metrics.image_scores import ImageScores, caption_curve, image_scores
from kcm_lightning.module import KCMCaptions, KCMModule
from kcm_lightning.results import Columns, gather


class CaptionRecorder(Recorder):
    """Keeps what the models say of each image."""

    kinds = ("bleu_drop", "cider_drop")
    measure = "CIDEr"
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
            answer = module.teacher.answer(query)
            kept["large_captions"], kept["large_confidence"] = answer.prediction, answer.confidence
        return kept

    def _columns(self) -> Columns:
        columns = gather(self.outcomes, self.batches)
        if self.asked:
            self.unanswered = sum(caption is None for caption in columns["large_captions"])
            self.asked = self.required or not self.unanswered
        return columns

    def _fitted(self, columns: Columns) -> tuple[CaptionAnswers, Found]:
        answers, found = self._answers(columns, Found()), Found()
        if self.asked:
            if self.fuse:
                self._fuse(answers, columns, found)
            if self.learn_gate:
                self._learn_gate(answers, columns["caption_features"], found)
        return answers, found

    def _answers(self, columns: Columns, found: Found) -> CaptionAnswers:
        captions = {who: columns[f"{who}_prediction"] for who in ("judge", "student")}
        if self.asked:  # where the large model has no answer, the student's stands
            pairs = zip(columns["large_captions"], captions["student"], strict=True)
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
            fused=scores.get("teacher", scores["student"]),
        )
        if isinstance(found.gate, CaptionGate):
            answers.gate_score = found.gate.score(columns["caption_features"])
        if isinstance(found.fusion, CaptionChoice):
            students = found.fusion.score(_choice_features(columns)) > 0.5
            answers.fused = ImageScores.chosen([answers.teacher, answers.student], students.long())
        return answers

    def _fuse(self, answers: CaptionAnswers, columns: Columns, found: Found) -> None:
        """Takes a choice between the captions of student and large model where it gains CIDEr."""
        student, large = answers.student.cider, answers.teacher.cider
        more = student - large
        fitted = fit_gate(CaptionChoice, _choice_features(columns), more > 0, more.abs())
        if fitted is None:
            return
        students = fitted[1] > 0.5
        gained = torch.where(students, more, 0.0)
        found.fusion_gain = gained.mean().item()
        if gained.mean() > gained.std() / len(gained) ** 0.5:
            found.fusion = fitted[0]
            answers.fused = ImageScores.chosen([answers.teacher, answers.student], students.long())

    def _learn_gate(self, answers: CaptionAnswers, features: Tensor, found: Found) -> None:
        """Takes a learned gate where it routes better, in CIDEr and in the mean over all LM rates."""
        more = answers.student.cider - answers.fused.cider
        fitted = fit_gate(CaptionGate, features, more >= 0, more.abs())
        if fitted is None:
            return
        by_score, by_confidence = (
            caption_curve(score, answers.student, answers.fused)["CIDEr"].mean()
            for score in (fitted[1], answers.gate_score)
        )
        if by_score > by_confidence:
            found.gate, answers.gate_score = fitted


def _choice_features(columns: Columns) -> Tensor:
    """What a choice between two captions weighs."""
    return choice_features(columns["caption_features"], columns["large_confidence"].nan_to_num(0))
