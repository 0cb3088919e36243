"""What the models say of a batch, and what the large model is asked."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Protocol, Self

import torch
from torch import Tensor

NO_ANSWER = -2  # the class index of a large model that was asked, but gave no usable answer


class Purpose(StrEnum):
    """What a large model is asked for."""

    FIT = "fit"  # to teach a student: a sample without an answer is no error
    INFERENCE = "inference"  # to answer: it is one


@dataclass
class Prediction:
    """What a model says of a batch of B samples.

    Args:
        prediction: class indices of shape `(B,)`, or B captions; `NO_ANSWER` or None where there is no
            answer.
        confidence: fractions in [0, 1], float32, shape `(B,)`; NaN where there is no answer.
        distribution: a classifier's probabilities, temperature applied, shape `(B, V)`.
    """

    prediction: Any
    confidence: Tensor
    distribution: Tensor | None = None

    def rows(self, rows: Tensor) -> Self:
        """What it says of some rows, indices of shape `(R,)`."""
        return replace(self, **{name: take(values, rows) for name, values in self._columns().items()})

    def scatter(self, rows: Tensor, count: int) -> Self:
        """The same in a batch of `count` samples, at `rows`; the other samples are -1, None or NaN."""
        return replace(
            self, **{name: _scatter(values, rows, count) for name, values in self._columns().items()}
        )

    def not_asked(self) -> Self:
        """The same for a batch of which no sample was asked about."""
        nobody = torch.empty(0, dtype=torch.long, device=self.confidence.device)
        return self.rows(nobody).scatter(nobody, len(self.confidence))

    def _columns(self) -> dict[str, Any]:
        """The fields that have values."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: values for name, values in columns.items() if values is not None}


@dataclass
class SmallPrediction(Prediction):
    """What a small model says of a batch of B samples.

    Args:
        prediction: see `Prediction`.
        confidence: see `Prediction`.
        distribution: see `Prediction`.
        logits: a classifier's logits before any pruning, shape `(B, V)`.
        token_features: of captions, what a learned gate reads, shape `(B, 4)`.
    """

    logits: Tensor | None = None
    token_features: Tensor | None = None

    @property
    def hint(self) -> Any:
        """What a prompt can state of it: probabilities of the classes, or a caption and its confidence."""
        return self if self.distribution is None else self.distribution


Predictor = Callable[[Any], SmallPrediction]


@dataclass
class Query:
    """What a large model is asked about B samples.

    Args:
        inputs: un-augmented inputs, as the data module's `large` holds them.
        hint: what the small model says (equation 2): probabilities of shape `(B, V)`, or its captions; None
            for no hint.
        sample_ids: ids of the samples in their data set, shape `(B,)`; a cache needs them. None for other
            inputs.
        purpose: what it is asked for: to teach a student (`Purpose.FIT`) or to answer (`Purpose.INFERENCE`).
    """

    inputs: Any
    hint: Any = None
    sample_ids: Tensor | None = None
    purpose: Purpose = Purpose.INFERENCE

    def __len__(self) -> int:
        return len(self.inputs)

    def rows(self, rows: Tensor) -> "Query":
        """The same about some rows, indices of shape `(R,)`."""
        hint = self.hint.rows(rows) if isinstance(self.hint, Prediction) else take(self.hint, rows)
        return Query(take(self.inputs, rows), hint, take(self.sample_ids, rows), self.purpose)


class Teacher(Protocol):
    """What the method needs of a large model."""

    @property
    def uses_hint(self) -> bool:
        """Whether a hint changes the answer."""

    def answer(self, query: Query, temperature: float = 1.0) -> Prediction:
        """The large model's answers and its confidence in each (equation 3)."""


@dataclass
class Outcome:
    """What became of a batch of B samples.

    Predictions are class indices of shape `(B,)`, or B captions. Where a model was not asked, its prediction
    is -1 or None and its confidence NaN; where a large model had no answer, `NO_ANSWER` or None, and NaN.

    Args:
        prediction: the collaboration's answers.
        confidence: confidence of whoever answered, shape `(B,)`.
        route: who answered, `Route` codes, shape `(B,)`.
        called: whether the collaboration called the large model, shape `(B,)`.
        judge_prediction: the judge's answers.
        judge_confidence: the judge's confidence, shape `(B,)`.
        student_prediction: the student's answers.
        student_confidence: the student's confidence, shape `(B,)`.
        gate_score: what the student's gate compares: its confidence or the learned gate's score, shape
            `(B,)`.
        teacher_prediction: the large model's answers, asked as the collaboration asks it.
        teacher_confidence: the large model's confidence, shape `(B,)`.
        teacher_without_hint_prediction: the large model's answers without a hint; of a model that uses hints,
            only where every sample was to be asked about.
        teacher_without_hint_confidence: its confidence in these, shape `(B,)`.
        judge_logits: a classifier's logits, before any pruning, shape `(B, V)`.
        student_logits: a classifier's logits, before any pruning, shape `(B, V)`.
        caption_features: of captions, what a learned gate reads of judge and student, shape `(B, 9)`.
        distribution: a classifier's probabilities of whoever answered, shape `(B, V)`.
        fused_prediction: answers of large and small models together, about the samples that the large model
            was asked about; None where nothing is fused.
        fused_confidence: confidence in these, shape `(B,)`.
        shadowed: which samples were drawn so that the large model was asked about them in any case, shape
            `(B,)`; None where none are drawn.
    """

    prediction: Any
    confidence: Tensor
    route: Tensor
    called: Tensor
    judge_prediction: Any
    judge_confidence: Tensor
    student_prediction: Any
    student_confidence: Tensor
    gate_score: Tensor
    teacher_prediction: Any
    teacher_confidence: Tensor
    teacher_without_hint_prediction: Any
    teacher_without_hint_confidence: Tensor
    judge_logits: Tensor | None = None
    student_logits: Tensor | None = None
    caption_features: Tensor | None = None
    distribution: Tensor | None = None
    fused_prediction: Any = None
    fused_confidence: Tensor | None = None
    shadowed: Tensor | None = None


def take(inputs: Any, rows: Tensor) -> Any:
    """Rows of a batch, whether it is a tensor, a list, or a dictionary of these; None stays None.

    Args:
        inputs: a batch of B samples.
        rows: indices of the rows to take, shape `(R,)`.

    Returns:
        The batch of R samples, of the same kind.

    >>> take(["cat", "dog", "owl"], torch.tensor([2, 0]))
    ['owl', 'cat']
    """
    if inputs is None:
        return None
    if isinstance(inputs, Tensor):
        return inputs[rows.to(inputs.device)]
    if isinstance(inputs, dict):
        return {key: take(value, rows) for key, value in inputs.items()}
    return [inputs[row] for row in rows.tolist()]


def _scatter(values: Tensor | list, rows: Tensor, count: int) -> Any:
    """Values at some rows of `count`, of the same kind."""
    if isinstance(values, Tensor):
        values = values.to(rows.device)
        empty = float("nan") if values.is_floating_point() else -1
        whole = torch.full((count, *values.shape[1:]), empty, dtype=values.dtype, device=rows.device)
        return whole.index_copy_(0, rows, values)
    result: list = [None] * count
    for row, value in zip(rows.tolist(), values, strict=True):
        result[row] = value
    return result
