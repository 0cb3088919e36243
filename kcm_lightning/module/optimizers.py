"""One optimizer for both phases, and a schedule that is a function of progress alone."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.ranges import check_number


@dataclass
class Phase:
    """How one small model is trained.

    Args:
        epochs: passes over the data; 0 leaves the phase out.
        lr: highest learning rate, a finite number of at least 0.
        weight_decay: weight decay of the weights, a finite number of at least 0; biases and normalizations
            have none.
        warmup: share of the phase, in [0, 1), in which the learning rate rises linearly; then it falls as a
            half cosine to 0.
        cutmix: share of the batches, in [0, 1], to which CutMix is applied; 0, the default, is none.
        optimizer: "adamw", the default, or "sgd" with Nesterov momentum of 0.9.
        lr_drops: instead of the cosine, shares of the phase, in (0, 1), at which the learning rate falls to a
            hundredth; an empty list keeps it as it is. null, the default, is the cosine.
    """

    epochs: int
    lr: float = 3e-3
    weight_decay: float = 0.05
    warmup: float = 0.15
    cutmix: float = 0.0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr_drops: list[float] | None = None

    def __post_init__(self) -> None:
        check_number("lr", self.lr, low=0)
        check_number("weight_decay", self.weight_decay, low=0)
        if self.epochs < 0 or not 0 <= self.warmup < 1 or not 0 <= self.cutmix <= 1:
            raise InputError(f"{self}: epochs must be >= 0, warmup in [0, 1), cutmix in [0, 1]")
        if not all(0 < drop < 1 for drop in self.lr_drops or []):
            raise InputError(f"{self}: lr_drops are shares of the phase, between 0 and 1")

    def progress(self, epochs: float) -> float:
        """Share of the phase, in [0, 1], that some epochs are, whole or in part."""
        return min(1.0, epochs / max(1, self.epochs))

    def lr_after(self, epochs: float) -> float:
        """Learning rate after some epochs of the phase, whole or in part."""
        progress = self.progress(epochs)
        if progress < self.warmup:
            return self.lr * (0.04 + 0.96 * progress / self.warmup)
        if self.lr_drops is not None:
            return self.lr * 0.01 ** sum(progress >= drop for drop in self.lr_drops)
        return self.lr * 0.5 * (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup)))


def set_lr(optimizers: Iterable[Optimizer], name: str, lr: float) -> None:
    """Sets the learning rate of the parameter groups that `phase_optimizer` has given a name."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if group["phase"] == name:
                group["lr"] = lr


def check_finite(values: Iterable[Tensor], what: str, step: int, epoch: int) -> None:
    """Stops a training that has diverged, before a checkpoint of it is written.

    Args:
        values: the loss, or the weights.
        what: their name.
        step: optimizer steps so far.
        epoch: the current epoch, from 0.

    Raises:
        InputError: a value is infinite or NaN.
    """
    if all(torch.isfinite(value).all() for value in values):
        return
    kept = "the last finished epoch's checkpoint is kept, resume with --ckpt_path last"
    raise InputError(
        f"{what} not finite at step {step} (epoch {epoch}): lower the learning rate or clip gradients; "
        f"{kept if epoch else 'nothing is lost yet'}"
    )


def parameter_groups(model: nn.Module, phase: Phase) -> list[dict]:
    """A model's weights with the phase's weight decay, and its biases and normalizations without."""
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return [
        {"params": weights, "lr": phase.lr, "weight_decay": phase.weight_decay},
        {"params": others, "lr": phase.lr, "weight_decay": 0.0},
    ]


def phase_optimizer(phases: list[tuple[str, nn.Module, Phase]]) -> Optimizer:
    """One optimizer with parameter groups for each phase; a group whose gradients are None is left alone.

    Args:
        phases: name, model and schedule of each. Each group carries the name of its phase, so that a schedule
            can be set on it, and a name of its own, under which `LearningRateMonitor` logs its rate.

    Raises:
        InputError: phases that have epochs want different optimizers.
    """
    kinds = {phase.optimizer for _, _, phase in phases if phase.epochs} or {"adamw"}
    if len(kinds) > 1:
        raise InputError(
            "judge_phase and student_phase need the same optimizer here; KCMTwoStage takes different ones"
        )
    groups = [
        {**group, "phase": name, "name": f"{name}_{part}"}
        for name, model, phase in phases
        for part, group in zip(("weights", "biases"), parameter_groups(model, phase), strict=True)
    ]
    return AdamW(groups) if kinds == {"adamw"} else SGD(groups, lr=1.0, momentum=0.9, nesterov=True)
