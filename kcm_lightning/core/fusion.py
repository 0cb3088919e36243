"""Fusion: what small and large model believe of a sample, together.

It is equation 2 for large models without a prompt: the small models have been asked anyway, so that their
word costs no call.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from kcm_lightning.utils.errors import InputError

_FLOOR = 1e-6  # least probability of the large model: one that claims certainty can still be outvoted


@dataclass
class Fusion:
    """Weights of the models in the answer to a sample that goes to the large model; `calibrate` finds them.

    With `log n` for the log of each class's number of training samples, the fused probabilities are
    `softmax(teacher log p_teacher + judge log p_judge + student log p_student + class_count log n)`, each
    model's with its temperature.

    Args:
        teacher: weight of the large model, at least 0.
        judge: weight of the judge, at least 0.
        student: weight of the student, at least 0.
        class_count: weight of the class counts; below 0 it lifts rare classes.
    """

    teacher: float = 1.0
    judge: float = 0.0
    student: float = 0.0
    class_count: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low = -100 if field.name == "class_count" else 0
            if not low <= value <= 100:  # nor NaN
                raise InputError(f"fusion {field.name}={value} is outside [{low}, 100]")


def fusion_features(
    *, teacher: Tensor, judge_logits: Tensor, student_logits: Tensor, log_counts: Tensor
) -> Tensor:
    """What the weights of a `Fusion` are of, in their order.

    Args:
        teacher: the large model's probabilities, temperature applied, shape `(B, V)`.
        judge_logits: divided by the temperature, before any pruning, shape `(B, V)`.
        student_logits: as `judge_logits`, shape `(B, V)`.
        log_counts: log of each class's number of training samples, shape `(V,)`.

    Returns:
        Shape `(4, B, V)`, float32.

    >>> even = torch.zeros(3, 2)
    >>> found = fusion_features(
    ...     teacher=even + 0.5, judge_logits=even, student_logits=even, log_counts=torch.tensor([2.0, 1.0])
    ... )
    >>> found.shape, found[3, 0].tolist()
    (torch.Size([4, 3, 2]), [2.0, 1.0])
    """
    with torch.autocast(teacher.device.type, enabled=False):
        return torch.stack(
            [
                teacher.float().clamp_min(_FLOOR).log(),
                judge_logits.float().log_softmax(-1),
                student_logits.float().log_softmax(-1),
                log_counts.float().expand(teacher.shape),
            ]
        )


def fuse(
    weights: Fusion, *, teacher: Tensor, judge_logits: Tensor, student_logits: Tensor, log_counts: Tensor
) -> Tensor:
    """The fused probabilities of each class.

    Args:
        weights: of the models.
        teacher: see `fusion_features`; rows of NaN where there is no answer.
        judge_logits: see `fusion_features`.
        student_logits: see `fusion_features`.
        log_counts: see `fusion_features`.

    Returns:
        Shape `(B, V)`, float32; rows of NaN where the large model has no answer.

    >>> said = {"teacher": torch.tensor([[0.6, 0.4]]), "judge_logits": torch.tensor([[0.1, 0.9]]).log()}
    >>> said |= {"student_logits": torch.zeros(1, 2), "log_counts": torch.zeros(2)}
    >>> round(fuse(Fusion(teacher=1.0), **said)[0, 0].item(), 2)
    0.6
    >>> round(fuse(Fusion(teacher=1.0, judge=1.0), **said)[0, 0].item(), 2)  # 0.6 * 0.1 against 0.4 * 0.9
    0.14
    """
    features = fusion_features(
        teacher=teacher, judge_logits=judge_logits, student_logits=student_logits, log_counts=log_counts
    )
    numbers = [weights.teacher, weights.judge, weights.student, weights.class_count]
    # a model without weight has no say, whether it was asked or not
    parts = [number * own for number, own in zip(numbers, features, strict=True) if number]
    unanswered = teacher.isnan().any(-1, keepdim=True)
    fused = torch.stack(parts).sum(0) if parts else torch.zeros_like(features[0])
    return fused.softmax(-1).masked_fill(unanswered, float("nan"))
