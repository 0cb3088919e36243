"""Algorithm 2 on a batch: judge, gate, student, gate, large model."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from kcm_lightning.gating import Pruning, Route, Thresholds, keeps, probabilities, pruned, route, take
from kcm_lightning.large.base import Answer, LargeModel


@dataclass
class Said(Answer):
    """What a small model says of a batch.

    Args:
        prediction, confidence: as of `Answer`.
        distribution: a classifier's probabilities, temperature applied, shape `(B, V)`.
        logits: a classifier's, shape `(B, V)`.
    """

    distribution: Tensor | None = None
    logits: Tensor | None = None

    @property
    def hint(self) -> Any:
        """What a large model's prompt states of it: probabilities of classes, or a caption and its confidence."""
        return self if self.distribution is None else self.distribution

    def rows(self, rows: Tensor) -> "Said":
        """What it says of some rows, shape `(R,)`."""
        return Said(*(None if values is None else take(values, rows) for values in self._values()))

    def put_back(self, rows: Tensor, count: int) -> "Said":
        """The same in a batch of `count` samples, at `rows`; the others are -1, None or NaN."""
        return Said(*(None if values is None else _put_back(values, rows, count) for values in self._values()))

    def unasked(self) -> "Said":
        """The same of a batch of which nothing was asked."""
        nobody = torch.empty(0, dtype=torch.long, device=self.confidence.device)
        return self.rows(nobody).put_back(nobody, len(self.confidence))

    def _values(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]


Says = Callable[[Any], Said]


def says_class(model: nn.Module, temperature: float = 1.0, pruning: Pruning | None = None) -> Says:
    """A classifier's way to say what it believes: its most probable class and that class's probability.

    Args:
        model: from inputs to logits `(B, V)`.
        temperature: divisor of the logits.
        pruning: of its classes.
    """

    def say(inputs: Any) -> Said:
        logits = model(inputs).float()
        distribution = probabilities(pruned(logits, pruning), temperature)
        confidence, prediction = distribution.max(-1)
        return Said(prediction, confidence, distribution, logits)

    return say


@dataclass
class Outcome:
    """What became of a batch of B samples.

    Predictions are class indices of shape `(B,)`, or B captions. Where a model was not asked, its prediction is -1 or None
    and its confidence NaN; where a large model had no answer, `NO_ANSWER` or None, and NaN.

    Args:
        prediction: the collaboration's answers.
        confidence: of whoever answered, shape `(B,)`.
        route: `Route` codes, shape `(B,)`.
        called: whether the collaboration called the large model, shape `(B,)`.
        judge_prediction, judge_confidence: of the judge.
        student_prediction, student_confidence: of the student.
        teacher_prediction, teacher_confidence: of the large model as the collaboration asks it.
        alone_prediction, alone_confidence: of the large model without a hint; of one that uses hints, only where every row was
            to be asked.
        judge_logits, student_logits: of classifiers, before any pruning, shape `(B, V)`.
    """

    prediction: Tensor | list
    confidence: Tensor
    route: Tensor
    called: Tensor
    judge_prediction: Tensor | list
    judge_confidence: Tensor
    student_prediction: Tensor | list
    student_confidence: Tensor
    teacher_prediction: Tensor | list
    teacher_confidence: Tensor
    alone_prediction: Tensor | list
    alone_confidence: Tensor
    judge_logits: Tensor | None = None
    student_logits: Tensor | None = None


class RowsByPlace:
    """Rows by a sample's stable place, which may be any number.

    Args:
        places: shape `(N,)`, none twice.
        rows: shape `(N, ...)`.
    """

    def __init__(self, places: Tensor, rows: Tensor):
        self.places, order = places.sort()
        self.rows = rows[order]

    def __getitem__(self, places: Tensor) -> Tensor:
        return self.rows[torch.searchsorted(self.places, places)]


def collaborate(
    batch: dict,
    judge: Says,
    student: Says,
    teacher: LargeModel,
    thresholds: Thresholds,
    teacher_temperature: float = 1.0,
    second_gate: str = "student",
    ask_every_student: bool = False,
    ask_every_teacher: bool = False,
    in_fit: bool = False,
) -> Outcome:
    """Answers a batch; the large model sees only the rows that need it. What it has no answer to, the student answers.

    Args:
        batch: with `small`, `large` and, for a cache, `index`.
        judge, student: what the small models say of inputs.
        teacher: the large model, loaded.
        thresholds: the inference thresholds.
        teacher_temperature: divisor of the large model's logits.
        second_gate: "student", or "teacher" for Algorithm 2 as printed, which calls the large model for every row that
            the judge does not keep.
        ask_every_student: also ask the student about the rows that the judge keeps.
        ask_every_teacher: also ask the large model about the rows that do not need it, with and without a hint;
            `called` does not count those.
        in_fit: a missing answer of the large model is no error.
    """
    first = judge(batch["small"])
    every = torch.ones_like(first.confidence, dtype=torch.bool)
    onwards = ~keeps(first.confidence, thresholds.judge)
    asked = every if ask_every_student else onwards
    if asked.any():
        rows = asked.nonzero().squeeze(1)
        second = student(take(batch["small"], rows)).put_back(rows, len(every))
    else:
        second = first.unasked()

    ask = _Asker(batch, teacher, second, teacher_temperature, in_fit)
    if second_gate == "teacher":
        called = onwards
        third = ask(every if ask_every_teacher else called)
        routes = route(first.confidence, third.confidence.nan_to_num(0), thresholds, "teacher")
    else:
        routes = route(first.confidence, second.confidence.nan_to_num(0), thresholds)
        called = routes == Route.TEACHER
        third = ask(every if ask_every_teacher else called)
    routes[(routes == Route.TEACHER) & third.confidence.isnan()] = Route.STUDENT
    alone = third
    if teacher.uses_hint:
        alone = ask(every, with_hint=False) if ask_every_teacher else third.unasked()
    return Outcome(
        _by_route(routes, [first.prediction, second.prediction, third.prediction]),
        _by_route(routes, [first.confidence, second.confidence, third.confidence]),
        routes,
        called,
        first.prediction,
        first.confidence,
        second.prediction,
        second.confidence,
        third.prediction,
        third.confidence,
        alone.prediction,
        alone.confidence,
        first.logits,
        second.logits,
    )


class _Asker:
    """Asks the large model about some rows of a batch and puts its answers back in their places."""

    def __init__(self, batch: dict, teacher: LargeModel, student: Said, temperature: float, in_fit: bool):
        self.batch, self.teacher, self.student = batch, teacher, student
        self.options = {"temperature": temperature, "in_fit": in_fit}

    def __call__(self, asked: Tensor, with_hint: bool = True) -> Said:
        rows = asked.nonzero().squeeze(1)
        if not len(rows):
            return self.student.unasked()
        hint = self.student.rows(rows).hint if with_hint and self.teacher.uses_hint else None
        samples = self.batch["index"][rows] if "index" in self.batch else None
        answer = self.teacher.answer(take(self.batch["large"], rows), hint, samples, **self.options)
        return Said(answer.prediction, answer.confidence.float()).put_back(rows, len(asked))


def _put_back(values: Tensor | list, rows: Tensor, count: int) -> Tensor | list:
    if isinstance(values, Tensor):
        values = values.to(rows.device)
        empty = float("nan") if values.is_floating_point() else -1
        return torch.full((count, *values.shape[1:]), empty, dtype=values.dtype, device=rows.device).index_copy_(0, rows, values)
    result: list = [None] * count
    for row, value in zip(rows.tolist(), values, strict=True):
        result[row] = value
    return result


def _by_route(routes: Tensor, values: list[Any]) -> Tensor | list:
    """Of each sample, the value of whoever answered it."""
    if isinstance(values[0], Tensor):
        return torch.stack(values).gather(0, routes.unsqueeze(0)).squeeze(0)
    return [values[who][row] for row, who in enumerate(routes.tolist())]
