"""KCMModule: judge, student and large model, trained by Algorithm 1 and answering by Algorithm 2."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from kcm_lightning.core.confidence import Temperatures, probabilities
from kcm_lightning.core.distillation import Direction, gated_distillation
from kcm_lightning.core.fusion import Fusion
from kcm_lightning.core.learned_gate import LearnedGate
from kcm_lightning.core.losses import JudgeLoss, judge_loss
from kcm_lightning.core.partition import PartitionOrder, partition
from kcm_lightning.core.predictions import Purpose, Query
from kcm_lightning.core.pruning import Pruning
from kcm_lightning.core.routing import SecondGate, Thresholds
from kcm_lightning.data.augment import some_cutmix
from kcm_lightning.data.base import Batch, KCMDataModule
from kcm_lightning.large import LargeClassifier, LargeModel, with_cache
from kcm_lightning.metrics import LMRate, RegionAccuracy
from kcm_lightning.module.answering import Answering
from kcm_lightning.module.checks import check_inputs, check_loss, check_sizes
from kcm_lightning.module.optimizers import Phase
from kcm_lightning.module.sample_lookup import SampleLookup
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.ranges import check_number, check_temperature


class KCMModule(Answering):
    """KAN-based collaboration of a small and a large model (Algorithms 1 and 2).

    Args:
        judge: the small model; the student starts as its copy.
        teacher: the large model, a class of `kcm_lightning.large` or your own.
        judge_phase: training of the judge on labels.
        student_phase: distillation of the student, after the judge; 0 epochs keep the judge's copy.
        judge_ckpt: checkpoint of a run whose judge is used instead of training one; null, the default, trains
            one.
        loss: the judge's loss under class imbalance: "logit_adjusted", the default (Menon et al. 2021),
            "plain" cross-entropy, "balanced" (weights inverse to the class counts), or "tlc" (for
            `ExpertResNet32`).
        thresholds: confidences from which on judge and student answer at inference; `calibrate` finds them. A
            value of null closes a gate.
        distill_thresholds: confidences from which on large model and judge teach in distillation; the
            student's is not used.
        temperatures: divisors of each model's logits, as `calibrate` finds them; 1 by default.
        gate: what the student's gate compares: "confidence" (equation 1), the default, or a learned score,
            whose weights `calibrate` finds.
        fusion: weights of the models in answers to what goes to the large model, as `calibrate` finds them;
            null, the default, is the large model alone.
        partition: who is asked first in distillation: "teacher_first", the default, or "printed", the judge
            first, as in the paper's Algorithm 1.
        direction: which KL divergence teaches the student (equations 4 and 5): "forward", the default,
            KL(target || student); "reverse", KL(student || target); or "hard", cross-entropy with the
            target's most probable class.
        distill_temperature: temperature, from 0.001 to 1000, that softens both sides of the KL divergence; 1,
            the default, changes nothing.
        label_share: share of `loss` in what the student learns of samples with known labels, from 0, the
            default, to 1; the rest is equations 4 and 5.
        second_gate: whose confidence opens the second gate: "student", the default, or "teacher", as printed,
            for which the large model is called whenever the judge is unsure.
        pruning: classes that the student leaves to the others at inference (MCM); null, the default, is none.
        cache: folder in which the large model's answers are kept; null, the default, asks it anew each time.
        compare: whether to ask every model about every test sample, to compare them; null, the default, does
            so where the large model costs nothing.
        compile: whether to compile the small models where there is a compiler.
    """

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
        gate: LearnedGate | Literal["confidence"] = "confidence",
        fusion: Fusion | None = None,
        partition: PartitionOrder = "teacher_first",
        direction: Direction = "forward",
        distill_temperature: float = 1.0,
        label_share: float = 0.0,
        second_gate: SecondGate = "student",
        pruning: Pruning | None = None,
        cache: str | None = None,
        compare: bool | None = None,
        compile: bool = False,
    ):
        super().__init__(
            judge=judge,
            judge_phase=judge_phase,
            student_phase=student_phase,
            judge_ckpt=judge_ckpt,
            compile=compile,
        )
        check_temperature("--model.distill_temperature", distill_temperature)
        self.teacher: Any = teacher
        check_number("--model.label_share", label_share, low=0, high=1)
        if label_share and loss == "tlc":
            raise InputError("--model.label_share: the loss tlc is of several experts: set the share to 0")
        self.loss, self.partition, self.direction = loss, partition, direction
        self.label_share = label_share
        self.thresholds, self.temperatures = thresholds, temperatures
        self.distill_thresholds, self.distill_temperature = distill_thresholds, distill_temperature
        self.second_gate, self.pruning, self.cache = second_gate, pruning, cache
        self.compare = not teacher.paid if compare is None else compare
        self._set_gate(gate, fusion)

    # ------------------------------------------------------------------ setup

    def setup(self, stage: str) -> None:
        data = self.data
        self._check_kinds(data)
        check_sizes(self.judge, data, pruning=self.pruning)
        check_loss(self.judge, self.loss, data)
        if self.cache:
            self.teacher = with_cache(self.teacher, self.cache)
        self.teacher.load(data.class_names, self.trainer.strategy.root_device)
        self.lm_rate = LMRate()
        self._set_up_metrics(data)

    def _check_kinds(self, data: KCMDataModule) -> None:
        """Whether data and large model have the kind of answers that this module gives."""
        if not data.class_names:
            raise InputError(
                "these data have captions, not classes: set --model kcm_lightning.module.KCMCaptions"
            )
        if not isinstance(self.teacher, LargeClassifier):
            name = type(self.teacher).__name__
            raise InputError(
                f"--model.teacher: {name} has no classes; give a LargeClassifier, for instance CLIP"
            )
        check_inputs(self.teacher, data)

    def _set_up_metrics(self, data: KCMDataModule) -> None:
        """Takes from the data what losses and metrics need."""
        self.register_buffer("class_counts", data.class_counts, persistent=False)
        scheme = next(iter(data.regions))
        regions, names = data.regions[scheme], data.region_names[scheme]
        metrics = {who: RegionAccuracy(regions, names) for who in ("judge", "student", "kcm")}
        self.accuracy = cast(Mapping[str, RegionAccuracy], nn.ModuleDict(metrics))  # its values are untyped

    def on_fit_start(self) -> None:
        self.teacher.check_before_fit()
        super().on_fit_start()

    # --------------------------------------------------------------- training

    def _judge_loss(self, batch: Batch) -> Tensor:
        images, partner, own = some_cutmix(batch["small"], self.judge_phase.cutmix)
        predict: Any = self.judge.by_expert if self.loss == "tlc" else self.judge
        logits = predict(images)
        target, progress = batch["target"], self.judge_phase.progress(self.current_epoch + 1)

        def loss_of(labels: Tensor) -> Tensor:
            counts = self.class_counts
            return judge_loss(logits, labels, class_counts=counts, kind=self.loss, progress=progress).mean()

        loss = own * loss_of(target)
        if own < 1:
            loss = loss + (1 - own) * loss_of(target[partner])
        self.log("train/judge_loss", loss, batch_size=len(target))
        return loss

    @torch.no_grad()
    def _record_answers(self) -> None:
        """The frozen judge's answers on the clean view; fills the large model's cache on the way."""
        sample_ids, answers = [], []
        for batch in self._batches_to_distill():
            with self.trainer.precision_plugin.forward_context():
                believed = probabilities(self.judge(batch["small"]))
            sample_ids.append(batch["index"])
            answers.append(believed)
            if self.cache and self.distill_thresholds.teacher is not None:
                self.teacher.distribution(Query(batch["large"], believed, batch["index"], Purpose.FIT))
        self._recorded = SampleLookup(torch.cat(sample_ids), torch.cat(answers))
        self._held_out = torch.tensor(self.data.splits().get("pool", []), device=self.device)

    def _distill_targets(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """What judge and large model believe, each `(B, 1, V)`, and who teaches each sample, `(B,)`."""
        judge = self._recorded[batch["index"]].unsqueeze(1)  # (B, 1, V)
        if self.distill_thresholds.teacher is None:  # equation 4 is off: nothing to ask
            teacher, confidence = judge, torch.zeros_like(judge[:, 0, 0])
        else:
            teacher = self.teacher.distribution(
                Query(batch["large"], judge[:, 0], batch["index"], Purpose.FIT)
            )
            # NaN, which no gate keeps, where the large model has no answer
            confidence = teacher[:, 0].amax(-1)
            teacher = torch.where(teacher.isnan(), judge, teacher)
        parts = partition(
            judge=judge[:, 0].amax(-1),
            teacher=confidence,
            thresholds=self.distill_thresholds,
            order=self.partition,
        )
        return judge, teacher, parts

    def _student_loss(self, batch: Batch) -> Tensor:
        judge, teacher, parts = self._distill_targets(batch)
        images, partner, own = some_cutmix(batch["small"], self.student_phase.cutmix)
        logits = self.student(images).unsqueeze(1)  # (B, 1, V)

        def losses(rows: Tensor) -> Tensor:
            equations = gated_distillation(
                logits,
                judge=judge[rows],
                teacher=teacher[rows],
                parts=parts[rows],
                direction=self.direction,
                temperature=self.distill_temperature,
            )
            each = torch.stack(equations)  # (2, B)
            if self.label_share:
                each = self._with_labels(each, logits[:, 0], batch["target"][rows], batch["index"][rows])
            return each.mean(1)  # (2,), or (3,) with labels

        both = own * losses(torch.arange(len(parts), device=parts.device))
        if own < 1:
            both = both + (1 - own) * losses(partner)
        return self._log_student(both, parts)

    def _with_labels(self, equations: Tensor, logits: Tensor, labels: Tensor, sample_ids: Tensor) -> Tensor:
        """Equations 4 and 5 with less weight, and the loss of labels that may be used, shape `(3, B)`."""
        share = self.label_share * ~torch.isin(sample_ids, self._held_out)
        counts = self.class_counts ** (1 - self.data.distill_balance)  # as often as classes are seen here
        learned = judge_loss(logits, labels, class_counts=counts, kind=self.loss)
        return torch.cat([(1 - share) * equations, (share * learned).unsqueeze(0)])
