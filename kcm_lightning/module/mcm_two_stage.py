"""MCM's two-stage confidence distillation: separate steps on the large model's samples and the judge's."""

from typing import Any

import torch
from torch import Tensor

from kcm_lightning.core.distillation import divergence
from kcm_lightning.core.partition import Part
from kcm_lightning.data.base import Batch
from kcm_lightning.module.kcm import KCMModule
from kcm_lightning.module.optimizers import check_finite, phase_optimizer
from kcm_lightning.utils.errors import InputError


class KCMTwoStage(KCMModule):
    """A `KCMModule` whose student is distilled in two stages, as Data Shunt's code does it.

    Samples that the large model teaches (equation 4) gather in a buffer; the judge's (equation 5) in another,
    which takes no more than the first may hold. When the first is full, the student makes a step on it, then
    one on the other, and both are emptied; they are empty too when an epoch begins, so that a resumed run
    repeats an uninterrupted one. `partition: printed` asks the judge first, as there; `direction: hard`
    learns the most probable class, `forward` the distribution. Judge and student may have different
    optimizers.

    Args:
        buffer: samples that the first buffer holds: a step is made when it is full.
        **kwargs: the options of `KCMModule`. The trainer clips no gradients here: leave `gradient_clip_val`
            at null.
    """

    def __init__(self, buffer: int = 64, **kwargs: Any):
        super().__init__(**kwargs)
        if buffer < 1:
            raise InputError(f"--model.buffer={buffer} must be at least 1")
        if self.label_share:
            raise InputError("--model.label_share: the two stages learn no labels: set it to 0")
        if self.student_phase.cutmix:
            raise InputError("--model.student_phase.cutmix mixes samples of both stages: set it to 0")
        self.buffer = buffer
        self.automatic_optimization = False
        self._waiting: dict[Part, list[tuple[Tensor, Tensor]]] = {}
        self._steps = 0  # of the current epoch

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.data.lengths is not None:
            raise InputError(
                "two-stage distillation joins samples of several batches: texts, which differ in length, it "
                "cannot"
            )
        if stage == "fit" and self.trainer.world_size > 1:
            raise InputError("two-stage distillation has one buffer, in one process: set --trainer.devices=1")

    def configure_optimizers(self) -> Any:
        phases = ("judge", self.judge, self.judge_phase), ("student", self.student, self.student_phase)
        return [phase_optimizer([phase]) for phase in phases]

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self._waiting, self._steps = {Part.TEACHER: [], Part.JUDGE: []}, 0

    def on_train_epoch_end(self) -> None:
        if self.distilling and not self._steps and not self.trainer.fast_dev_run:
            taught = self._count_of(Part.TEACHER)
            again = "resume with --ckpt_path last" if self.current_epoch else "fit again"
            options = "--model.distill_thresholds.teacher or --model.buffer"
            raise InputError(
                f"an epoch of distillation made no step: the large model taught {taught} samples, a buffer "
                f"takes {self.buffer}; lower {options}, and {again}"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        if not self.distilling:
            self._step(self._judge_loss(batch))
            return
        judge, teacher, parts = self._distill_targets(batch)
        start = 0
        while start < len(parts):  # up to where the first buffer is full
            missing = self.buffer - self._count_of(Part.TEACHER)
            taught = (parts[start:] == Part.TEACHER).nonzero().squeeze(1)
            end = start + int(taught[missing - 1]) + 1 if len(taught) >= missing else len(parts)
            for part, target in ((Part.TEACHER, teacher), (Part.JUDGE, judge)):
                rows = (
                    start
                    + (parts[start:end] == part).nonzero().squeeze(1)[: self.buffer - self._count_of(part)]
                )
                self._waiting[part].append((batch["small"][rows], target[rows]))
            if self._count_of(Part.TEACHER) == self.buffer:
                self._two_steps()
            start = end
        self._log_parts(parts)

    def _count_of(self, part: Part) -> int:
        """Samples that wait in a buffer."""
        return sum(len(images) for images, _ in self._waiting[part])

    def _two_steps(self) -> None:
        for part, name in ((Part.TEACHER, "train/equation_4"), (Part.JUDGE, "train/equation_5")):
            if self._count_of(part):
                images, targets = (torch.cat(column) for column in zip(*self._waiting[part], strict=True))
                logits = self.student(images).unsqueeze(1)  # (B, 1, V)
                loss = divergence(
                    logits, targets, direction=self.direction, temperature=self.distill_temperature
                ).mean()
                self.log(name, loss, batch_size=len(images))
                self._step(loss)
            self._waiting[part] = []

    def _step(self, loss: Tensor) -> None:
        check_finite([loss], "the loss is", self.global_step, self.current_epoch)
        optimizer = self.optimizers()[self.distilling]  # type: ignore[index]  # one of each phase
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self._steps += 1
