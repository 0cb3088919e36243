"""One optimiser for both phases, and a schedule that is a function of progress alone."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from kcm_lightning.errors import InputError


@dataclass
class Phase:
    """How one small model is trained.

    Args:
        epochs: how long.
        lr: highest learning rate.
        weight_decay: of AdamW, on weights alone, not on biases and normalisations.
        warmup: share of the phase, in [0, 1), in which the learning rate rises linearly; then it falls as a half
            cosine to 0.
        cutmix: share of the batches, in [0, 1], to which CutMix is applied.
    """

    epochs: int
    lr: float = 3e-3
    weight_decay: float = 0.05
    warmup: float = 0.15
    cutmix: float = 0.0

    def __post_init__(self):
        if self.epochs < 0 or not 0 <= self.warmup < 1 or not 0 <= self.cutmix <= 1:
            raise InputError(f"{self}: epochs must be >= 0, warmup in [0, 1), cutmix in [0, 1]")

    def lr_after(self, epochs: float) -> float:
        """Learning rate after some epochs of the phase, whole or in part."""
        progress = min(1.0, epochs / max(1, self.epochs))
        if progress < self.warmup:
            return self.lr * (0.04 + 0.96 * progress / self.warmup)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))


def check_finite(values: Iterable[Tensor], what: str, step: int, epoch: int) -> None:
    """Stops a training that has diverged, before a checkpoint of it is written.

    Args:
        values: the loss, or the weights.
        what: their name.
        step: optimiser steps so far.
        epoch: the current epoch, from 0.

    Raises:
        InputError: a value is infinite or NaN.
    """
    if all(torch.isfinite(value).all() for value in values):
        return
    kept = "the last finished epoch's checkpoint is kept, resume with --ckpt_path last" if epoch else "nothing is lost yet"
    raise InputError(f"{what} not finite at step {step} (epoch {epoch}): lower the learning rate or clip gradients; {kept}")


def parameter_groups(model: nn.Module, phase: Phase) -> list[dict]:
    """A model's weights with the phase's weight decay, and its biases and normalisations without."""
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return [
        {"params": weights, "lr": phase.lr, "weight_decay": phase.weight_decay},
        {"params": others, "lr": phase.lr, "weight_decay": 0.0},
    ]


def two_phase_adamw(judge: nn.Module, student: nn.Module, judge_phase: Phase, student_phase: Phase) -> AdamW:
    """AdamW with parameter groups for judge and student; a group whose gradients are None is left alone.

    Each group carries the name of its phase, so that a schedule can be set on it.
    """
    groups = []
    for name, model, phase in (("judge", judge, judge_phase), ("student", student, student_phase)):
        groups += [{**group, "phase": name} for group in parameter_groups(model, phase)]
    return AdamW(groups)
