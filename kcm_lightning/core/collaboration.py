"""Algorithm 2 on a batch: judge, gate, student, gate, large model."""

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from kcm_lightning.core.caption_gate import CaptionChoice, CaptionGate, caption_features, choice_features
from kcm_lightning.core.confidence import Temperatures, check_confidence, most_probable, probabilities
from kcm_lightning.core.fusion import Fusion, fuse
from kcm_lightning.core.learned_gate import gate_features
from kcm_lightning.core.pacing import Pace
from kcm_lightning.core.predictions import (
    Outcome,
    Prediction,
    Predictor,
    Purpose,
    Query,
    SmallPrediction,
    Teacher,
    take,
)
from kcm_lightning.core.pruning import Pruning, pruned
from kcm_lightning.core.regression import Regression
from kcm_lightning.core.routing import Route, SecondGate, Thresholds, keeps, route


class Ask(Enum):
    """Who is asked about samples that do not need it, to compare the models."""

    NOBODY = "nobody"
    STUDENT = "student"  # also about the samples that the judge keeps
    EVERYONE = (
        "everyone"  # student and large model about every sample; the large model with and without a hint
    )


@dataclass
class Roles:
    """Who plays which role.

    Args:
        judge: what the judge predicts of inputs.
        student: what the student predicts of inputs.
        teacher: the large model, loaded.
    """

    judge: Predictor
    student: Predictor
    teacher: Teacher


@dataclass
class Gates:
    """What decides who answers.

    Args:
        thresholds: the thresholds of inference.
        temperatures: divisors of each model's logits.
        second_gate: "student"; or "teacher" for Algorithm 2 as printed, which calls the large model for every
            sample that the judge does not keep.
        learned: scores the student's answers in place of its confidence; None for equation 1.
        fusion: weights of the models where the large model is called, of captions what chooses between two;
            None for the large model alone.
        log_counts: log of each class's number of training samples, shape `(V,)`, which gate and fusion need.
        pruning: classes that the student leaves to the others.
        shadow: share of the samples, drawn at random, that the large model is asked about in any case.
        pace: what lowers the student's threshold so that a budget lasts; None without one.
    """

    thresholds: Thresholds
    temperatures: Temperatures = field(default_factory=Temperatures)
    second_gate: SecondGate = "student"
    learned: Regression | None = None
    fusion: Fusion | CaptionChoice | None = None
    log_counts: Tensor | None = None
    pruning: Pruning | None = None
    shadow: float = 0.0
    pace: Pace | None = None

    def score(self, judge: SmallPrediction, student: SmallPrediction) -> Tensor:
        """What the student's gate compares, shape `(B,)`; NaN where the student was not asked."""
        if self.learned is None:
            return student.confidence
        if isinstance(self.learned, CaptionGate):
            return self.learned.score(caption_features(judge, student))
        own = pruned(_known(student.logits), self.pruning)
        features = gate_features(
            judge_logits=_known(judge.logits), student_logits=own, log_counts=_known(self.log_counts)
        )
        return self.learned.score(features)

    def paced(self, judge: SmallPrediction, second: Tensor) -> "Gates":
        """The same with the student's threshold that the budget allows for this batch."""
        if self.pace is None:
            return self
        to_come = second.masked_fill(keeps(judge.confidence, self.thresholds.judge), float("nan"))
        allowed = self.pace.threshold_for(to_come, self.thresholds.student)
        student = None if allowed == float("inf") else allowed
        return replace(self, thresholds=replace(self.thresholds, student=student))

    def routes(self, judge: SmallPrediction, second: Tensor) -> Tensor:
        """Who answers each sample, `Route` codes, shape `(B,)`; NaN opens no gate.

        Args:
            judge: what the judge predicts.
            second: what is compared at the second gate, shape `(B,)`.
        """
        return route(
            judge=judge.confidence,
            second=second.nan_to_num(0),
            thresholds=self.thresholds,
            second_gate=self.second_gate,
        )

    def fused(
        self, teacher: Prediction, judge: SmallPrediction, student: SmallPrediction
    ) -> Prediction | None:
        """The answers of the models together; None where nothing is fused."""
        if self.fusion is None:
            return None
        if isinstance(self.fusion, CaptionChoice):
            return _chosen(self.fusion, teacher, judge, student)
        distribution = fuse(
            self.fusion,
            teacher=_known(teacher.distribution),
            judge_logits=_known(judge.logits) / self.temperatures.judge,
            student_logits=_known(student.logits) / self.temperatures.student,
            log_counts=_known(self.log_counts),
        )
        confidence, prediction = most_probable(distribution)
        prediction = torch.where(confidence.isnan(), teacher.prediction, prediction)
        return Prediction(prediction, confidence, distribution)


def collaborate(
    batch: dict[str, Any],
    *,
    roles: Roles,
    gates: Gates,
    ask: Ask = Ask.NOBODY,
    purpose: Purpose = Purpose.INFERENCE,
) -> Outcome:
    """Algorithm 2: answers a batch; the large model sees only the samples that need it.

    What the large model has no answer to, the student answers. A small model's confidence of NaN is an error.

    Args:
        batch: with `small` and `large`, the inputs of the small models and of the large one, and, for a
            cache, `index`, the sample ids.
        roles: judge, student and large model.
        gates: thresholds, and whose confidence opens the second gate.
        ask: who is also asked about samples that do not need it; `called` does not count those.
        purpose: what the large model is asked for.
    """
    thresholds = gates.thresholds
    judge = _checked(roles.judge(batch["small"]))
    every = torch.ones_like(judge.confidence, dtype=torch.bool)
    passed_on = ~keeps(judge.confidence, thresholds.judge)
    student = judge.not_asked()
    if len(rows := (passed_on if ask is Ask.NOBODY else every).nonzero().squeeze(1)):
        student = _checked(roles.student(take(batch["small"], rows))).scatter(rows, len(every))

    call = _TeacherCall(batch, roles.teacher, student, gates.temperatures.teacher, purpose)
    score, by_teacher = gates.score(judge, student), gates.second_gate == "teacher"
    gates = gates.paced(judge, score)
    called = passed_on if by_teacher else gates.routes(judge, score) == Route.TEACHER
    if gates.pace is not None:
        gates.pace.spend(len(called), int(called.sum()))
    shadowed = torch.rand_like(judge.confidence) < gates.shadow if gates.shadow else None
    needed = called if shadowed is None else called | shadowed
    teacher = call(every if ask is Ask.EVERYONE else needed)
    routes = gates.routes(judge, teacher.confidence if by_teacher else score)
    fused = gates.fused(teacher, judge, student)
    last = fused or teacher
    routes[(routes == Route.TEACHER) & teacher.confidence.isnan()] = Route.STUDENT
    without_hint = teacher
    if roles.teacher.uses_hint:
        without_hint = call(every, with_hint=False) if ask is Ask.EVERYONE else teacher.not_asked()
    return Outcome(
        prediction=_by_route(routes, [judge.prediction, student.prediction, last.prediction]),
        confidence=_by_route(routes, [judge.confidence, student.confidence, last.confidence]),
        route=routes,
        called=called,
        gate_score=score,
        **_columns("judge", judge),
        **_columns("student", student),
        **_columns("teacher", teacher),
        **_columns("teacher_without_hint", without_hint),
        judge_logits=judge.logits,
        student_logits=student.logits,
        caption_features=None if judge.token_features is None else caption_features(judge, student),
        shadowed=shadowed,
        distribution=_by_route(routes, [judge.distribution, student.distribution, last.distribution]),
        **({} if fused is None else _columns("fused", fused)),
    )


def class_predictor(model: nn.Module, temperature: float = 1.0, pruning: Pruning | None = None) -> Predictor:
    """A classifier as a predictor: its most probable class, and that class's probability as confidence.

    Args:
        model: from inputs to logits `(B, V)`.
        temperature: divisor of the logits.
        pruning: classes that it leaves to the others.

    >>> predict = class_predictor(nn.Identity())
    >>> predict(torch.tensor([[0.0, 2.0]])).prediction.tolist()
    [1]
    """

    def predict(inputs: Any) -> SmallPrediction:
        logits = model(inputs).float()
        kept = logits if pruning is None else pruning(logits)
        distribution = probabilities(kept, temperature)
        confidence, prediction = most_probable(distribution)
        return SmallPrediction(prediction, confidence, distribution=distribution, logits=logits)

    return predict


def _checked(prediction: SmallPrediction) -> SmallPrediction:
    """The same: a gate would keep no NaN, and pass it on unsaid."""
    check_confidence(prediction.confidence)
    return prediction


@dataclass
class _TeacherCall:
    """Asks the large model about some samples of a batch and puts its answers back in their places."""

    batch: dict[str, Any]
    teacher: Teacher
    student: SmallPrediction
    temperature: float
    purpose: Purpose

    def __call__(self, asked: Tensor, with_hint: bool = True) -> Prediction:
        rows = asked.nonzero().squeeze(1)
        if not len(rows):
            student = self.student
            return Prediction(student.prediction, student.confidence, student.distribution).not_asked()
        hint = self.student.rows(rows).hint if with_hint and self.teacher.uses_hint else None
        sample_ids = take(self.batch.get("index"), rows)
        query = Query(take(self.batch["large"], rows), hint, sample_ids, self.purpose)
        answer = self.teacher.answer(query, self.temperature)
        said = Prediction(answer.prediction, answer.confidence.float(), answer.distribution)
        return said.scatter(rows, len(asked))


def _columns(who: str, said: Prediction) -> dict[str, Any]:
    """Fields of an outcome that say what a model predicts and how sure it is."""
    return {f"{who}_prediction": said.prediction, f"{who}_confidence": said.confidence}


def _by_route(routes: Tensor, values: list[Any]) -> Any:
    """Of each sample, the value of whoever answered it; None for what captions do not have."""
    if values[0] is None:
        return None
    if isinstance(values[0], Tensor):
        return torch.stack(values)[routes, torch.arange(len(routes), device=routes.device)]
    return [values[who][row] for row, who in enumerate(routes.tolist())]


def _chosen(
    choice: CaptionChoice, teacher: Prediction, judge: SmallPrediction, student: SmallPrediction
) -> Prediction:
    """The student's captions where they are probably the better ones, else the large model's."""
    features = choice_features(caption_features(judge, student), teacher.confidence)
    students = (choice.score(features) > 0.5) & ~teacher.confidence.isnan()
    captions = [
        own if better else large
        for own, large, better in zip(student.prediction, teacher.prediction, students.tolist(), strict=True)
    ]
    return Prediction(captions, torch.where(students, student.confidence, teacher.confidence))


def _known(values: Tensor | None) -> Tensor:
    """Logits and class counts, which classifiers have."""
    assert values is not None
    return values
