"""Equations 4 and 5: what the student learns from the large model and from the judge."""

from typing import Literal

import torch
from torch import Tensor

from kcm_lightning.core.partition import Part

Direction = Literal["forward", "reverse", "hard"]


def divergence(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    direction: Direction = "forward",
    temperature: float = 1.0,
) -> Tensor:
    """KL divergence between a student and the distribution it is taught, one value a sample.

    A class label is a caption of length one: classifiers pass L = 1. Positions of a sample are averaged.

    Args:
        logits: the student's logits, shape `(B, L, V)`.
        target: probabilities to learn, shape `(B, L, V)`.
        mask: True at positions that count, shape `(B, L)`; all of them where None.
        direction: "forward" KL(target || student), "reverse" KL(student || target), or "hard", the
            cross-entropy with the target's most probable class (as Data Shunt's code does).
        temperature: softens both sides; the loss is scaled by its square (Hinton et al. 2015).

    Returns:
        Shape `(B,)`, in nats, float32. A sample without a position that counts gives 0.

    >>> same = torch.tensor([[[0.0, 1.0]]])
    >>> divergence(same, same.softmax(-1)).abs().tolist()
    [0.0]
    """
    with torch.autocast(logits.device.type, enabled=False):
        log_student = (logits.float() / temperature).log_softmax(-1)
        log_target = target.float().clamp_min(torch.finfo(torch.float32).tiny).log()
        if temperature != 1.0:
            log_target = (log_target / temperature).log_softmax(-1)
        if direction == "hard":
            loss = -log_student.gather(-1, target.argmax(-1, keepdim=True)).squeeze(-1)  # (B, L)
        elif direction == "forward":
            loss = (log_target.exp() * (log_target - log_student)).sum(-1)
        else:
            loss = (log_student.exp() * (log_student - log_target)).sum(-1)
        loss = loss * temperature**2
        if mask is None:
            return loss.mean(-1)
        return (loss * mask).sum(-1) / mask.sum(-1).clamp_min(1)


def gated_distillation(
    logits: Tensor,
    *,
    judge: Tensor,
    teacher: Tensor,
    parts: Tensor,
    mask: Tensor | None = None,
    direction: Direction = "forward",
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Equations 4 and 5 behind the gate, one value a sample.

    Args:
        logits: the student's logits, shape `(B, L, V)`.
        judge: the judge's probabilities, shape `(B, L, V)`.
        teacher: the large model's probabilities, shape `(B, L, V)`.
        parts: who teaches, `Part` codes of Algorithm 1, shape `(B,)`.
        mask: True at positions that count, shape `(B, L)`; all of them where None.
        direction: see `divergence`.
        temperature: see `divergence`.

    Returns:
        Equation 4 (from the large model; 0 outside x2) and equation 5 (from the judge; 0 outside x1), each of
        shape `(B,)`. An empty part gives zeros, never NaN.

    >>> logits, certain = torch.zeros(2, 1, 2), torch.tensor([[[1.0, 0.0]]]).expand(2, 1, 2)
    >>> parts = torch.tensor([Part.TEACHER, Part.NONE])
    >>> [loss.tolist() for loss in gated_distillation(logits, judge=certain, teacher=certain, parts=parts)]
    [[0.6931471824645996, 0.0], [0.0, 0.0]]
    """
    from_teacher = divergence(logits, teacher, mask=mask, direction=direction, temperature=temperature)
    from_judge = divergence(logits, judge, mask=mask, direction=direction, temperature=temperature)
    zero = torch.zeros_like(from_teacher)
    equation_4 = torch.where(parts == Part.TEACHER, from_teacher, zero)
    equation_5 = torch.where(parts == Part.JUDGE, from_judge, zero)
    return equation_4, equation_5
