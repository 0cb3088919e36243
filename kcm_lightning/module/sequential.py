"""Training on one group of classes after the other, to see what a small model forgets."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, cast

import torch
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor, nn
from torchmetrics import Metric, MetricCollection

from kcm_lightning.core.losses import judge_loss
from kcm_lightning.data.base import Batch, TrainingSamples
from kcm_lightning.data.images import LongTailedImages
from kcm_lightning.data.longtail import equal_groups
from kcm_lightning.metrics import AverageForgetting, BackwardTransfer, RegionAccuracy, TaskAccuracy
from kcm_lightning.module.checks import check_sizes, has_compiler
from kcm_lightning.module.named_weights import NamedWeights
from kcm_lightning.module.optimizers import Phase, check_finite, phase_optimizer, set_lr
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.seed import seed_epoch


class SequentialTraining(NamedWeights):
    """A small model that learns groups of classes one by one, and is tested on all groups after each.

    Nothing of earlier groups is kept or replayed. Each test counts twice: `all_classes`, where all classes
    compete (class-incremental), and `own_classes`, where only those of the sample's own group do
    (task-incremental).

    Args:
        model: the small model, a class of `kcm_lightning.small`.
        phase: training on one group; the schedule of the learning rate starts anew with each.
        groups: number of groups, each of as many classes, by falling frequency: 3, the default, are head, med
            and tail.
        compile: whether to compile the model where there is a compiler.
    """

    weights_option = "model.model"
    epochs: Tensor
    group_of_class: Tensor

    def __init__(self, model: nn.Module, phase: Phase, groups: int = 3, compile: bool = False):
        super().__init__()
        if groups < 2:
            raise InputError(f"--model.groups={groups} must be at least 2")
        if phase.cutmix:
            raise InputError("--model.phase.cutmix is not used in sequential training: set it to 0")
        self.model, self.phase, self.groups = model, phase, groups
        self.register_buffer("epochs", torch.tensor(phase.epochs))
        if compile and has_compiler():
            self.model.compile()

    @property
    def named_model(self) -> nn.Module:
        return self.model

    @property
    def total_epochs(self) -> int:
        return self.groups * self.phase.epochs

    @property
    def group(self) -> int:
        """The group that the current epoch learns."""
        return self.trainer.current_epoch // max(1, self.phase.epochs)

    @property
    def phase_position(self) -> tuple[str, int, int]:
        """The group that is learned, the epoch within it from 1, and its epochs."""
        epoch = self.trainer.current_epoch % max(1, self.phase.epochs)
        return f"group {self.group + 1} of {self.groups}, epoch", epoch + 1, self.phase.epochs

    @property
    def data(self) -> LongTailedImages:
        """The data module of the run."""
        return self.trainer.datamodule

    def training_samples(self) -> TrainingSamples:
        """What the current epoch trains on, as the data module asks: the classes of its group."""
        return TrainingSamples(classes=(self.group_of_class == self.group).nonzero().squeeze(1).cpu())

    def setup(self, stage: str) -> None:
        data = self.data
        if not isinstance(data, LongTailedImages):
            raise InputError(
                "sequential training needs images with classes: set --data kcm_lightning.data.CIFAR100LT"
            )
        if stage == "fit":
            self._check_trainer()
        check_sizes(self.model, data, option="model.model")
        if self.groups > len(data.class_names):
            raise InputError(f"--model.groups={self.groups}: there are only {len(data.class_names)} classes")
        if hasattr(self, "scores"):  # of the groups learned so far
            return
        self.register_buffer("group_of_class", equal_groups(data.class_counts, self.groups), persistent=False)
        kinds = {
            "accuracy": TaskAccuracy,
            "forgetting": AverageForgetting,
            "backward_transfer": BackwardTransfer,
        }

        def metrics() -> MetricCollection:
            own: dict[str, Metric | MetricCollection] = {
                name: kind(self.group_of_class) for name, kind in kinds.items()
            }
            return MetricCollection(own, compute_groups=False)

        scores = nn.ModuleDict({"all_classes": metrics(), "own_classes": metrics()})
        self.scores = cast(Mapping[str, MetricCollection], scores)  # its values are untyped
        scheme = next(iter(data.regions))
        self.accuracy = RegionAccuracy(data.regions[scheme], data.region_names[scheme])

    def _check_trainer(self) -> None:
        if self.trainer.world_size > 1:
            raise InputError("sequential training counts in one process: set --trainer.devices=1")
        if self.trainer.check_val_every_n_epoch != 1 or self.trainer.limit_val_batches == 0:
            raise InputError(
                "groups are tested after a validation: leave check_val_every_n_epoch and limit_val_batches "
                "alone"
            )
        if (self.trainer.max_epochs or 0) > self.total_epochs:
            wanted = self.trainer.max_epochs
            raise InputError(f"--trainer.max_epochs={wanted}: the groups take {self.total_epochs} epochs")

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Takes the weights and counts of a run of as many groups and epochs.

        Raises:
            InputError: the run had others, or another model.
        """
        said = (
            "the checkpoint is of other groups, epochs or another model: give its configuration, "
            "--config RUN/config.yaml"
        )
        counts = state_dict.get("scores.all_classes.accuracy.total")
        if counts is None or len(counts) != self.groups or state_dict["epochs"] != self.phase.epochs:
            raise InputError(said)
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise InputError(said) from error

    def configure_optimizers(self) -> Any:
        return phase_optimizer([("model", self.model, self.phase)])

    def on_train_epoch_start(self) -> None:
        seed_epoch(self.current_epoch, self.global_rank)
        self.model.train()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        done = self.current_epoch % max(1, self.phase.epochs) + batch_idx / max(
            1, self.trainer.num_training_batches
        )
        set_lr(self.trainer.optimizers, "model", self.phase.lr_after(done))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        counts = self.data.class_counts
        loss = judge_loss(
            self.model(batch["small"]), batch["target"], class_counts=counts, kind="plain"
        ).mean()
        check_finite([loss], "the loss is", self.global_step, self.current_epoch)
        self.log("train/loss", loss, batch_size=len(batch["target"]))
        return loss

    def _test_after(self, group: int) -> None:
        """Counts the test images after a group has been learned; of a trial run one batch."""
        data = self.data
        for metric in self._metrics():
            metric.restart(group)
        for batch in islice(data.test_dataloader(), 1 if self.trainer.fast_dev_run else None):
            batch = data.view(move_data_to_device(batch, self.device), augment=False)
            with self.trainer.precision_plugin.forward_context():
                self._count(group, batch)
        for kind, metrics in self.scores.items():
            row = metrics["accuracy"].compute()[group]
            self.log_dict({f"{kind}/group_{i}": value for i, value in enumerate(row, 1)})

    def _metrics(self) -> list[TaskAccuracy]:
        found = [metric for metrics in self.scores.values() for metric in metrics.values()]
        return cast(list[TaskAccuracy], found)

    @property
    def _counted(self) -> Tensor:
        """Test images of each group that were counted after each group."""
        return cast(TaskAccuracy, self.scores["all_classes"]["accuracy"]).total

    def _count(self, group: int, batch: Batch) -> Tensor:
        """Counts a batch, and returns the classes it was taken for where all compete."""
        logits, target = self.model(batch["small"]).float(), batch["target"]
        strangers = self.group_of_class != self.group_of_class[target].unsqueeze(1)  # (B, V)
        prediction = logits.argmax(-1)
        self.scores["all_classes"].update(group, prediction, target)
        self.scores["own_classes"].update(
            group, logits.masked_fill(strangers, float("-inf")).argmax(-1), target
        )
        return prediction

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.accuracy.update(self.model(batch["small"]).argmax(-1), batch["target"])

    def on_validation_epoch_end(self) -> None:
        self._log_regions("val")
        if self.trainer.sanity_checking or self.trainer.state.fn != "fit":
            return
        check_finite(self.parameters(), "the weights are", self.global_step, self.current_epoch)
        if (self.current_epoch + 1) % self.phase.epochs == 0:
            self._test_after(self.group)  # here, before the checkpoint of this epoch is written
        # what is forgotten at the end is the question: the last epoch is the "best"
        self.log("selection", float(self.current_epoch), logger=False)

    def _log_regions(self, split: str) -> None:
        self.log_dict({f"{split}/{region}": value for region, value in self.accuracy.compute().items()})
        self.accuracy.reset()

    def on_test_start(self) -> None:
        learned = int((self._counted.sum(1) > 0).sum())
        if learned < self.groups:
            raise InputError(
                f"this run has learned {learned} of {self.groups} groups: go on with fit --ckpt_path last"
            )
        if not self.trainer.fast_dev_run:
            self._check_same_images()
        for metric in self._metrics():
            metric.restart(self.groups - 1)

    def _check_same_images(self) -> None:
        """Whether the groups are tested on what earlier ones were tested on."""
        data = self.data
        groups = self.group_of_class.cpu()[data.labels[data.positions["test"]]]
        now = torch.bincount(groups, minlength=self.groups)
        before = self._counted[0].cpu()
        if not torch.equal(now, before) or sum(self.trainer.num_test_batches) < len(data.test_dataloader()):
            raise InputError(
                "after each group the fit has counted other test images: test with its --data options, and "
                "no limit"
            )

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.accuracy.update(self._count(self.groups - 1, batch), batch["target"])

    def on_test_epoch_end(self) -> None:
        for kind, metrics in self.scores.items():
            found = metrics.compute()
            self.log_dict(
                {f"test/{kind}/{name}": found[name] for name in ("forgetting", "backward_transfer")}
            )
        self._log_regions("test")
