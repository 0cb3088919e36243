"""Algorithm 1: who teaches the student on which training sample."""

from enum import IntEnum
from typing import Literal

import torch
from torch import Tensor

from kcm_lightning.core.routing import Thresholds, keeps

PartitionOrder = Literal["teacher_first", "printed"]


class Part(IntEnum):
    """Who teaches the student on a sample: the paper's x1, x2 and x3."""

    JUDGE = 1
    TEACHER = 2
    NONE = 3


def partition(
    *, judge: Tensor, teacher: Tensor, thresholds: Thresholds, order: PartitionOrder = "teacher_first"
) -> Tensor:
    """Algorithm 1's partition of training samples.

    As printed, the judge is asked first. On samples that it was trained on it is nearly always confident, so
    that it mostly teaches the student what the student already knows; "teacher_first" asks the large model
    first.

    Args:
        judge: confidence of the judge on un-augmented inputs, shape `(B,)`.
        teacher: confidence of the large model, shape `(B,)`; NaN where it has no answer.
        thresholds: the thresholds of distillation; the student's is not used.
        order: who is asked first: "teacher_first", or "printed" for the judge.

    Returns:
        `Part` codes, shape `(B,)`.

    >>> judge, teacher = torch.tensor([0.99, 0.99, 0.1]), torch.tensor([0.99, 0.1, 0.1])
    >>> codes = partition(judge=judge, teacher=teacher, thresholds=Thresholds())
    >>> [Part(code).name for code in codes.tolist()]
    ['TEACHER', 'JUDGE', 'NONE']
    """
    judge_is_sure, teacher_is_sure = keeps(judge, thresholds.judge), keeps(teacher, thresholds.teacher)
    nobody = torch.full_like(judge, Part.NONE, dtype=torch.long)
    if order == "printed":
        return torch.where(judge_is_sure, Part.JUDGE, torch.where(teacher_is_sure, Part.TEACHER, nobody))
    return torch.where(teacher_is_sure, Part.TEACHER, torch.where(judge_is_sure, Part.JUDGE, nobody))
