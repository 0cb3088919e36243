"""Training in two phases: first the judge on labels, then the student behind the gate."""

import copy
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor, nn

from kcm_lightning.core.partition import Part
from kcm_lightning.data.base import Batch, KCMDataModule, TrainingSamples
from kcm_lightning.module.checks import has_compiler, start_judge
from kcm_lightning.module.named_weights import NamedWeights
from kcm_lightning.module.optimizers import Phase, check_finite, phase_optimizer, set_lr
from kcm_lightning.module.phase_end import PhaseEnd
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.progress import counted
from kcm_lightning.utils.seed import seed_epoch


class TwoPhases(NamedWeights):
    """A judge that is trained, then frozen, and a student that starts as its copy and is distilled.

    A subclass gives the losses, and records what the student is distilled from.

    Args:
        judge: the small model; the student starts as its copy.
        judge_phase: training of the judge on labels.
        student_phase: distillation of the student; its epochs follow the judge's.
        judge_ckpt: checkpoint whose judge is used instead of training one; None to train one.
        compile: whether to compile the small models where there is a compiler.
    """

    weights_option = "model.judge"
    student_started: Tensor

    def __init__(
        self,
        *,
        judge: nn.Module,
        judge_phase: Phase,
        student_phase: Phase,
        judge_ckpt: str | None,
        compile: bool,
    ):
        super().__init__()
        self.judge, self.student = judge, copy.deepcopy(judge)
        self.judge_phase, self.student_phase, self.judge_ckpt = judge_phase, student_phase, judge_ckpt
        self.register_buffer("student_started", torch.tensor(False))
        self._judge_ended: int | None = None  # epochs after which early stopping ended the judge's phase
        self.student_stopped = False  # by early stopping
        self._recorded: Any = None  # what the student is distilled from, on the clean view
        if compile and has_compiler():
            self.judge.compile()
            self.student.compile()

    @abstractmethod
    def _judge_loss(self, batch: Batch) -> Tensor:
        """The loss of the judge's phase, a scalar."""

    @abstractmethod
    def _student_loss(self, batch: Batch) -> Tensor:
        """The loss of the student's phase, a scalar."""

    @abstractmethod
    def _record_answers(self) -> None:
        """Records in `_recorded` what the student is distilled from, once a phase."""

    @property
    def data(self) -> KCMDataModule:
        """The data module of the run."""
        return self.trainer.datamodule

    @property
    def named_model(self) -> nn.Module:
        return self.judge

    @property
    def judge_epochs(self) -> int:
        """Epochs of the judge's phase: those that it has taken once early stopping has ended it."""
        return self._planned_judge_epochs if self._judge_ended is None else self._judge_ended

    @property
    def _planned_judge_epochs(self) -> int:
        return 0 if self.judge_ckpt else self.judge_phase.epochs

    @property
    def total_epochs(self) -> int:
        return self.judge_epochs + self.student_phase.epochs

    def phases_after(self, epochs: int) -> dict[str, dict[str, Any]]:
        """Epochs of each phase that are done and that were planned, after some epochs of the run."""
        judge = self.judge_epochs
        stopped = {"judge": self._judge_ended is not None, "student": self.student_stopped}
        done = {
            "judge": min(epochs, judge),
            "student": min(max(0, epochs - judge), self.student_phase.epochs),
        }
        planned = {"judge": self._planned_judge_epochs, "student": self.student_phase.epochs}
        untrained = {"judge": not planned["judge"] and not self.judge_ckpt, "student": False}
        return {
            phase: {
                "done": done[phase],
                "planned": planned[phase],
                "stopped_early": stopped[phase],
                "untrained": untrained[phase],
            }
            for phase in done
        }

    @property
    def distilling(self) -> bool:
        """Whether the current epoch teaches the student."""
        return self.trainer.current_epoch >= self.judge_epochs

    @property
    def phase_position(self) -> tuple[str, int, int]:
        """Name of the current phase, the epoch within it from 1, and its epochs."""
        epoch = self.trainer.current_epoch + 1
        if self.distilling:
            epochs = self.student_phase.epochs  # after which averaging takes one more, of no step
            return "student", min(epoch - self.judge_epochs, epochs), epochs
        return "judge", epoch, self.judge_epochs

    def training_samples(self) -> TrainingSamples:
        """What the current epoch trains on, as the data module asks."""
        return TrainingSamples(distilling=self.distilling)

    def configure_callbacks(self) -> list[L.Callback]:
        return [PhaseEnd()]

    def end_judge_phase(self) -> None:
        """Has the student's phase follow the epoch that is about to end."""
        self._judge_ended = self.current_epoch + 1
        self._leave_out_epochs()

    def _leave_out_epochs(self) -> None:
        """Takes the judge's epochs that early stopping has saved from those of the run."""
        loop = self.trainer.fit_loop
        if loop.max_epochs not in (None, -1):
            loop.max_epochs -= self._planned_judge_epochs - self.judge_epochs

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["judge_ended"] = self._judge_ended

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._judge_ended = checkpoint.get("judge_ended")

    def restore(
        self, checkpoint: dict[str, Any], path: str, data: KCMDataModule, class_names: list[str]
    ) -> None:
        """Takes what a checkpoint holds, for use without a Trainer; the data of `data` are not read."""
        advice = "its config.yaml or data.json has been changed since: put back what it was"
        self.check_weights(checkpoint, path, data, class_names, advice)
        self.load_state_dict(checkpoint["state_dict"])

    def on_fit_start(self) -> None:
        if self._judge_ended is not None:
            self._leave_out_epochs()
        if self.trainer.ckpt_path is None:  # else the checkpoint has the judge
            own = self.made_of(self.data, self.data.class_names)
            start_judge(self.judge, self.judge_ckpt, own, self.data, vocabulary=self._vocabulary_units())
            # one judge for all processes
            self.judge.load_state_dict(self.trainer.strategy.broadcast(self.judge.state_dict()))

    def _vocabulary_units(self) -> list | None:
        """What the numbers of the judge's captions stand for; None where it has classes."""
        return None

    def configure_optimizers(self) -> Any:
        phases = [("judge", self.judge, self.judge_phase), ("student", self.student, self.student_phase)]
        return phase_optimizer(phases[1:] if self.judge_ckpt else phases)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise InputError(
                "the checkpoint is of a judge with other options: give the configuration it was made with, "
                "--config RUN/config.yaml"
            ) from error

    def on_train_epoch_start(self) -> None:
        seed_epoch(self.current_epoch, self.global_rank)
        self.judge.train(not self.distilling)
        self.student.train(self.distilling)
        if self.distilling and not self.student_started:
            self.student.load_state_dict(self.judge.state_dict())
            self.student_started.fill_(True)
        if self.distilling and self._recorded is None:
            self._record_answers()
        self._set_lr_of(0)

    def _batches_to_distill(self) -> Iterator[Batch]:
        """Clean views of all samples to distill on."""
        loader = self.data.distill_dataloader()
        shown = self.trainer.is_global_zero and self.trainer.progress_bar_callback is not None
        for batch in counted(loader, "answers to distill from", shown=shown):
            yield self.data.view(move_data_to_device(batch, self.device), augment=False)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self._set_lr_of(batch_idx + 1)

    def _set_lr_of(self, batch_idx: int) -> None:
        """Sets the learning rate before a batch begins, so that `LearningRateMonitor` sees what it is."""
        if self.trainer.lr_scheduler_configs:  # of a callback, as StochasticWeightAveraging
            return
        start, phase = (self.judge_epochs, self.student_phase) if self.distilling else (0, self.judge_phase)
        done = self.current_epoch - start + batch_idx / max(1, self.trainer.num_training_batches)
        set_lr(self.trainer.optimizers, "student" if self.distilling else "judge", phase.lr_after(done))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        loss = self._student_loss(batch) if self.distilling else self._judge_loss(batch)
        check_finite([loss], "the loss is", self.global_step, self.current_epoch)
        return loss

    def _log_student(self, losses: Tensor, parts: Tensor) -> Tensor:
        """The sum of equations 4 and 5, and of the loss of labels if there is one, logged with the shares."""
        names = ("equation_4", "equation_5", "label_loss")[: len(losses)]
        said = {f"train/{name}": loss for name, loss in zip(names, losses, strict=True)}
        self.log_dict(said | {"train/student_loss": losses.sum()}, batch_size=len(parts))
        self._log_parts(parts)
        return losses.sum()

    def _log_parts(self, parts: Tensor) -> None:
        """Logs the partition's shares of an epoch."""
        shares = {f"partition/x{part.value}": (parts == part).float().mean() for part in Part}
        self.log_dict(shares, on_step=False, on_epoch=True, batch_size=len(parts), sync_dist=True)
