"""KCMModule: the judge on labels, then the student behind the gate; Algorithm 2 at inference."""

import copy
from collections.abc import Iterator
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor, nn
from tqdm import tqdm

from kcm_lightning.collaboration import Outcome, RowsByPlace, Says, collaborate, says_class
from kcm_lightning.data.augment import some_cutmix
from kcm_lightning.distillation import Direction, gated_distillation
from kcm_lightning.errors import InputError
from kcm_lightning.gating import Part, Pruning, Route, Temperatures, Thresholds, partition, probabilities
from kcm_lightning.large import LargeModel
from kcm_lightning.losses import JudgeLoss, judge_loss
from kcm_lightning.metrics import LMRate, RegionAccuracy
from kcm_lightning.module.preparation import check_kind, check_loss, check_sizes, has_compiler, start_judge
from kcm_lightning.optimisers import Phase, check_finite, phase_optimiser, set_lr
from kcm_lightning.seed import seed_epoch


class KCMModule(L.LightningModule):
    """KAN-based collaboration of a small and a frozen large model (Algorithms 1 and 2).

    Args:
        judge: the small model; the student starts as its copy.
        teacher: the large model.
        judge_phase: training of the judge on labels.
        student_phase: distillation of the student; its epochs follow the judge's.
        judge_ckpt: checkpoint whose judge is used instead of training one.
        loss: the judge's loss under class imbalance.
        thresholds: of the gates at inference.
        distill_thresholds: of the partition in distillation; the student's is not used.
        temperatures: divisors of each model's logits at inference, as `calibrate` finds them.
        partition: who is asked first in distillation; "printed" is the paper's Algorithm 1.
        direction: of the KL divergence.
        distill_temperature: of the KL divergence.
        second_gate: whose confidence opens the second gate; "teacher" is the paper's Algorithm 2, for analysis.
        pruning: classes that the student leaves to the others at inference (MCM).
        cache: folder for the large model's answers; null asks it anew each time.
        compare: ask every model about every test sample, for the comparison columns; null does so where it is free.
        compile: compile the small models where there is a compiler.
    """

    captions, vocabulary = False, None  # its answers are classes

    def __init__(
        self,
        judge: nn.Module,
        teacher: LargeModel,
        judge_phase: Phase,
        student_phase: Phase,
        judge_ckpt: str | None = None,
        loss: JudgeLoss = "logit_adjusted",
        thresholds: Thresholds = Thresholds(),
        distill_thresholds: Thresholds = Thresholds(),
        temperatures: Temperatures = Temperatures(),
        partition: Literal["teacher_first", "printed"] = "teacher_first",
        direction: Direction = "forward",
        distill_temperature: float = 1.0,
        second_gate: Literal["student", "teacher"] = "student",
        pruning: Pruning | None = None,
        cache: str | None = None,
        compare: bool | None = None,
        compile: bool = False,
    ):
        super().__init__()
        self.judge, self.student = judge, copy.deepcopy(judge)
        self.teacher = teacher
        self.judge_phase, self.student_phase, self.judge_ckpt = judge_phase, student_phase, judge_ckpt
        self.loss, self.partition, self.direction = loss, partition, direction
        self.thresholds, self.distill_thresholds, self.temperatures = thresholds, distill_thresholds, temperatures
        self.distill_temperature, self.second_gate, self.cache = distill_temperature, second_gate, cache
        self.pruning = pruning
        self.compare = not teacher.paid if compare is None else compare
        self.register_buffer("student_started", torch.tensor(False))
        self._recorded: Any = None  # what the student is distilled from, on the clean view
        if compile and has_compiler():
            self.judge.compile()
            self.student.compile()

    @property
    def judge_epochs(self) -> int:
        return 0 if self.judge_ckpt else self.judge_phase.epochs

    @property
    def total_epochs(self) -> int:
        return self.judge_epochs + self.student_phase.epochs

    @property
    def distilling(self) -> bool:
        """Whether the current epoch teaches the student."""
        return self.trainer.current_epoch >= self.judge_epochs

    @property
    def taught(self) -> nn.Module:
        """The student; before its distillation the judge, whose copy it starts as."""
        return self.student if self.student_started else self.judge

    # ------------------------------------------------------------------ setup

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule
        check_kind(data, self.captions)
        check_sizes(self.judge, data, self.pruning)
        check_loss(self.judge, self.loss, data)
        if self.cache:
            self.teacher = self.teacher.cached(self.cache, data.name)
        self.teacher.load(data.class_names, self.trainer.strategy.root_device)
        self.lm_rate = LMRate()
        self._know(data)

    def on_fit_start(self) -> None:
        self.teacher.check_before_fit()
        if self.trainer.ckpt_path is None:  # else the checkpoint has the judge
            start_judge(self.judge, self.judge_ckpt, self.vocabulary and self.vocabulary.units)
            self.judge.load_state_dict(self.trainer.strategy.broadcast(self.judge.state_dict()))  # one for all processes

    def _know(self, data: L.LightningDataModule) -> None:
        """Takes from the data what losses and metrics need."""
        self.register_buffer("class_counts", data.class_counts, persistent=False)
        scheme = next(iter(data.regions))
        regions, names = data.regions[scheme], data.region_names[scheme]
        self.accuracy = nn.ModuleDict({who: RegionAccuracy(regions, names) for who in ("judge", "student", "kcm")})

    def configure_optimizers(self):
        phases = [("judge", self.judge, self.judge_phase), ("student", self.student, self.student_phase)]
        return phase_optimiser(phases[1:] if self.judge_ckpt else phases)

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise InputError(
                "the checkpoint is of a judge with other options: give the configuration it was made with, "
                "--config RUN/config.yaml"
            ) from error

    # --------------------------------------------------------------- training

    def on_train_epoch_start(self) -> None:
        seed_epoch(self.current_epoch, self.global_rank)
        self.judge.train(not self.distilling)
        self.student.train(self.distilling)
        if self.distilling and not self.student_started:
            self.student.load_state_dict(self.judge.state_dict())
            self.student_started.fill_(True)
        if self.distilling and self._recorded is None:
            self._record_answers()

    @torch.no_grad()
    def _record_answers(self) -> None:
        """The frozen judge's answers on the clean view, once a phase; fills the large model's cache on the way."""
        places, answers = [], []
        for batch in self._batches_to_distil():
            with self.trainer.precision_plugin.forward_context():
                said = probabilities(self.judge(batch["small"]))
            places.append(batch["index"])
            answers.append(said)
            if self.cache and self.distill_thresholds.teacher is not None:
                self.teacher.teach(batch["large"], said, batch["index"])
        self._recorded = RowsByPlace(torch.cat(places), torch.cat(answers))

    def _batches_to_distil(self) -> Iterator[dict]:
        """Clean views of all samples to distil on."""
        data = self.trainer.datamodule
        loader = data.distill_dataloader()
        for batch in tqdm(loader, desc="answers to distil from", disable=not self.trainer.is_global_zero, leave=False):
            yield data.view(move_data_to_device(batch, self.device), augment=False)

    def on_train_batch_start(self, batch: dict, batch_idx: int) -> None:
        start, phase = (self.judge_epochs, self.student_phase) if self.distilling else (0, self.judge_phase)
        done = self.current_epoch - start + batch_idx / max(1, self.trainer.num_training_batches)
        name = "student" if self.distilling else "judge"
        set_lr(self.trainer.optimizers, name, phase.lr_after(done))

    def training_step(self, batch: dict, batch_idx: int) -> Tensor:
        loss = self._student_loss(batch) if self.distilling else self._judge_loss(batch)
        check_finite([loss], "the loss is", self.global_step, self.current_epoch)
        return loss

    def _judge_loss(self, batch: dict) -> Tensor:
        images, partner, own = some_cutmix(batch["small"], self.judge_phase.cutmix)
        logits, target = self.judge.by_expert(images) if self.loss == "tlc" else self.judge(images), batch["target"]
        options = {"kind": self.loss, "progress": self.judge_phase.progress(self.current_epoch + 1)}
        loss = own * judge_loss(logits, target, self.class_counts, **options).mean()
        if own < 1:
            loss = loss + (1 - own) * judge_loss(logits, target[partner], self.class_counts, **options).mean()
        self.log("train/judge_loss", loss, batch_size=len(target))
        return loss

    def _taught(self, batch: dict) -> tuple[Tensor, Tensor, Tensor]:
        """What judge and large model say of a batch, each of shape `(B, 1, V)`, and who teaches each sample, `Part` codes."""
        judge = self._recorded[batch["index"]].unsqueeze(1)  # (B, 1, V)
        if self.distill_thresholds.teacher is None:  # equation 4 is off: nothing to ask
            teacher, trusted = judge, torch.zeros_like(judge[:, 0, 0])
        else:
            teacher = self.teacher.teach(batch["large"], judge[:, 0], batch["index"])
            trusted = teacher[:, 0].amax(-1)  # NaN, which no gate keeps, where the large model has no answer
            teacher = torch.where(teacher.isnan(), judge, teacher)
        return judge, teacher, partition(judge[:, 0].amax(-1), trusted, self.distill_thresholds, self.partition)

    def _student_loss(self, batch: dict) -> Tensor:
        judge, teacher, parts = self._taught(batch)
        images, partner, own = some_cutmix(batch["small"], self.student_phase.cutmix)
        logits = self.student(images).unsqueeze(1)  # (B, 1, V)

        def losses(rows: Tensor) -> Tensor:
            options = {"direction": self.direction, "temperature": self.distill_temperature}
            return torch.stack(gated_distillation(logits, judge[rows], teacher[rows], parts[rows], **options)).mean(1)

        both = own * losses(torch.arange(len(parts), device=parts.device))
        if own < 1:
            both = both + (1 - own) * losses(partner)
        return self._log_student(both, parts)

    def _log_student(self, both: Tensor, parts: Tensor) -> Tensor:
        """The sum of equations 4 and 5, shape `(2,)`, logged with the partition's shares."""
        losses_of = {"train/equation_4": both[0], "train/equation_5": both[1], "train/student_loss": both.sum()}
        self.log_dict(losses_of, batch_size=len(parts))
        self._log_parts(parts)
        return both.sum()

    def _log_parts(self, parts: Tensor) -> None:
        """Logs the partition's shares of an epoch."""
        shares = {f"partition/x{part.value}": (parts == part).float().mean() for part in Part}
        self.log_dict(shares, on_step=False, on_epoch=True, batch_size=len(parts), sync_dist=True)

    # -------------------------------------------------------------- inference

    def outcome(self, batch: dict, compare: bool) -> Outcome:
        """Algorithm 2 on a batch as a data module's `view` returns it; `compare` also asks who need not be asked."""
        return self._collaborate(batch, compare, compare)

    def _collaborate(self, batch: dict, *asked: bool) -> Outcome:
        """`collaborate` with the module's models and gates; `asked` are its last arguments."""
        gates = self.thresholds, self.temperatures.teacher, self.second_gate
        return collaborate(batch, *self._speakers(), self.teacher, *gates, *asked)

    def _speakers(self) -> tuple[Says, Says]:
        judge = says_class(self.judge, self.temperatures.judge)
        return judge, says_class(self.taught, self.temperatures.student, self.pruning)

    def validation_step(self, batch: dict, batch_idx: int) -> Outcome | None:
        fitting = self.trainer.state.fn == "fit"  # then the large model is asked about routed rows alone
        if fitting and (not self.student_started or self.teacher.paid):
            who = "student" if self.student_started else "judge"
            self._score(who, self._speakers()[who == "student"](batch["small"]).prediction, batch)
            return None
        outcome = self._collaborate(batch, self.compare or fitting, self.compare and not fitting, fitting)
        self._count(outcome, batch, self.compare or fitting)
        return outcome

    def _count(self, outcome: Outcome, batch: dict, everyone: bool) -> None:
        self._score("judge", outcome.judge_prediction, batch)
        self._score("kcm", outcome.prediction, batch)
        if everyone or self.thresholds.judge is None:  # else the student was only asked about the hard ones
            self._score("student", outcome.student_prediction, batch)
        self.lm_rate.update(outcome.called, outcome.route == Route.TEACHER)

    def _score(self, who: str, prediction: Tensor, batch: dict) -> None:
        self.accuracy[who].update(prediction, batch["target"])

    def on_validation_epoch_end(self) -> None:
        if self.trainer.state.fn == "fit":
            check_finite(self.parameters(), "the weights are", self.global_step, self.current_epoch)
        self._log_metrics("val")

    def _log_metrics(self, split: str) -> None:
        values = self._scored(split)
        if self.lm_rate.update_called:
            values |= {f"{split}/lm_rate_{kind}": value for kind, value in self.lm_rate.compute().items()}
            self.lm_rate.reset()
        self.log_dict(values)

    def _scored(self, split: str) -> dict[str, Tensor | float]:
        """What the metrics have gathered, and by "selection" which checkpoint is best."""
        values: dict[str, Tensor | float] = {}
        for who, metric in self.accuracy.items():
            if metric.update_called:
                values |= {f"{split}/{who}_{region}": value for region, value in metric.compute().items()}
                metric.reset()
        if self.trainer.state.fn == "fit":  # a distilled student always beats a judge alone
            values["selection"] = 1 + values["val/student_overall"] if self.student_started else values["val/judge_overall"]
        return values

    def test_step(self, batch: dict, batch_idx: int) -> Outcome:
        outcome = self.outcome(batch, compare=self.compare)
        self._count(outcome, batch, self.compare)
        return outcome

    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def predict_step(self, batch: dict, batch_idx: int) -> Outcome:
        return self.outcome(batch, compare=False)
