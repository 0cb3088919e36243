"""Algorithm 2 on a batch: judge, gate, student, gate, large model."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kcm_lightning.gating import Route, Temperatures, Thresholds, keeps, probabilities, route, take
from kcm_lightning.large.base import NO_ANSWER, LargeModel


@dataclass
class Outcome:
    """What became of a batch of B samples. Where a model was not asked, its prediction is -1, its confidence NaN; where a
    large model had no answer, `NO_ANSWER` and NaN.

    Args:
        prediction: the collaboration's answers, class indices, shape `(B,)`.
        confidence: of whoever answered, shape `(B,)`.
        route: `Route` codes, shape `(B,)`.
        called: whether the collaboration called the large model, shape `(B,)`.
        judge_prediction, judge_confidence: of the judge, shape `(B,)`.
        student_prediction, student_confidence: of the student, shape `(B,)`.
        teacher_prediction, teacher_confidence: of the large model as the collaboration asks it, shape `(B,)`.
        alone_prediction, alone_confidence: of the large model without a hint, shape `(B,)`.
        judge_logits, student_logits: shape `(B, V)`.
    """

    prediction: Tensor
    confidence: Tensor
    route: Tensor
    called: Tensor
    judge_prediction: Tensor
    judge_confidence: Tensor
    student_prediction: Tensor
    student_confidence: Tensor
    teacher_prediction: Tensor
    teacher_confidence: Tensor
    alone_prediction: Tensor
    alone_confidence: Tensor
    judge_logits: Tensor
    student_logits: Tensor


class RowsByPlace:
    """Rows by a sample's stable place, which may be any number.

    Args:
        places: shape `(N,)`, none twice.
        rows: shape `(N, V)`.
    """

    def __init__(self, places: Tensor, rows: Tensor):
        self.places, order = places.sort()
        self.rows = rows[order]

    def __getitem__(self, places: Tensor) -> Tensor:
        return self.rows[torch.searchsorted(self.places, places)]


def collaborate(
    batch: dict,
    judge: nn.Module,
    student: nn.Module,
    teacher: LargeModel,
    thresholds: Thresholds,
    temperatures: Temperatures,
    second_gate: str = "student",
    ask_every_student: bool = False,
    ask_every_teacher: bool = False,
    in_fit: bool = False,
) -> Outcome:
    """Answers a batch; the large model sees only the rows that need it. What it has no answer to, the student answers.

    Args:
        batch: with `small`, `large` and, for a cache, `index`.
        judge, student: small models, in eval mode.
        teacher: the large model, loaded.
        thresholds: the inference thresholds.
        temperatures: of each model.
        second_gate: "student", or "teacher" for Algorithm 2 as printed, which calls the large model for every row that
            the judge does not keep.
        ask_every_student: also ask the student about the rows that the judge keeps.
        ask_every_teacher: also ask the large model about the rows that do not need it, with and without a hint;
            `called` does not count those.
        in_fit: a missing answer of the large model is no error.
    """
    logits = judge(batch["small"]).float()
    judge_confidence, judge_prediction = probabilities(logits, temperatures.judge).max(-1)
    every = torch.ones_like(judge_prediction, dtype=torch.bool)
    onwards = ~keeps(judge_confidence, thresholds.judge)

    student_logits = torch.full_like(logits, float("nan"))
    asked = every if ask_every_student else onwards
    if asked.any():
        rows = asked.nonzero().squeeze(1)
        student_logits[rows] = student(take(batch["small"], rows)).float()
    hint = probabilities(student_logits, temperatures.student)
    student_confidence, student_prediction = hint.max(-1)
    student_prediction[~asked] = -1

    ask = _Asker(batch, teacher, hint, temperatures.teacher, in_fit)
    if second_gate == "teacher":
        called = onwards
        prediction, confidence = ask(every if ask_every_teacher else called)
        routes = route(judge_confidence, confidence.nan_to_num(0), thresholds, "teacher")
    else:
        routes = route(judge_confidence, student_confidence.nan_to_num(0), thresholds)
        called = routes == Route.TEACHER
        prediction, confidence = ask(every if ask_every_teacher else called)
    routes[(routes == Route.TEACHER) & (prediction == NO_ANSWER)] = Route.STUDENT
    alone = ask(every, with_hint=False) if ask_every_teacher and teacher.uses_hint else (prediction, confidence)

    by_route = routes.unsqueeze(0)
    predictions = torch.stack([judge_prediction, student_prediction, prediction])
    confidences = torch.stack([judge_confidence, student_confidence, confidence])
    return Outcome(
        predictions.gather(0, by_route).squeeze(0),
        confidences.gather(0, by_route).squeeze(0),
        routes,
        called,
        judge_prediction,
        judge_confidence,
        student_prediction,
        student_confidence,
        prediction,
        confidence,
        *alone,
        logits,
        student_logits,
    )


class _Asker:
    """Asks the large model about some rows of a batch and puts its answers back in their places."""

    def __init__(self, batch: dict, teacher: LargeModel, hint: Tensor, temperature: float, in_fit: bool):
        self.batch, self.teacher, self.hint = batch, teacher, hint
        self.options = {"temperature": temperature, "in_fit": in_fit}

    def __call__(self, rows: Tensor, with_hint: bool = True) -> tuple[Tensor, Tensor]:
        prediction = torch.full_like(rows, -1, dtype=torch.long)
        confidence = torch.full(rows.shape, float("nan"), device=rows.device)
        if rows.any():
            places = rows.nonzero().squeeze(1)
            hint = self.hint[places] if with_hint and self.teacher.uses_hint else None
            samples = self.batch["index"][places] if "index" in self.batch else None
            answer = self.teacher.answer(take(self.batch["large"], places), hint, samples, **self.options)
            prediction[places] = answer.prediction.to(prediction)
            confidence[places] = answer.confidence.to(confidence)
        return prediction, confidence
