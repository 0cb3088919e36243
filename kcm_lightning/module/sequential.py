"""Training on one group of classes after the other, to see what a small model forgets."""

from itertools import islice

import lightning as L
import torch
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor, nn
from torchmetrics import MetricCollection

from kcm_lightning.data.longtail import equal_groups
from kcm_lightning.errors import InputError
from kcm_lightning.losses import judge_loss
from kcm_lightning.metrics import AverageForgetting, BackwardTransfer, RegionAccuracy, TaskAccuracy
from kcm_lightning.module.preparation import check_sizes, has_compiler
from kcm_lightning.optimisers import Phase, check_finite, phase_optimiser, set_lr
from kcm_lightning.seed import seed_epoch


class SequentialTraining(L.LightningModule):
    """A small model that learns groups of classes one after the other, and is tested on all groups after each.

    Nothing of earlier groups is kept or replayed. Each test counts twice: `all_classes`, where all classes compete
    (class-incremental), and `own_classes`, where only those of the sample's own group do (task-incremental).

    Args:
        model: the small model.
        phase: training on one group; the schedule of the learning rate starts anew with each.
        groups: how many, in equal numbers of classes by falling frequency: 3 are head, med and tail.
        compile: compile the model where there is a compiler.
    """

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
    def total_epochs(self) -> int:
        return self.groups * self.phase.epochs

    @property
    def group(self) -> int:
        """The group that the current epoch learns."""
        return self.trainer.current_epoch // max(1, self.phase.epochs)

    @property
    def current_classes(self) -> Tensor:
        """Classes that the current epoch trains on, as the data module asks for them."""
        return (self.group_of_class == self.group).nonzero().squeeze(1).cpu()

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule
        if not hasattr(data, "labels"):
            raise InputError("sequential training needs images with classes: set --data kcm_lightning.data.CIFAR100LT")
        if stage == "fit":
            self._check_trainer()
        check_sizes(self.model, data, option="model.model")
        if self.groups > len(data.class_names):
            raise InputError(f"--model.groups={self.groups}: there are only {len(data.class_names)} classes")
        if hasattr(self, "scores"):  # of the groups learned so far
            return
        self.register_buffer("group_of_class", equal_groups(data.class_counts, self.groups), persistent=False)
        kinds = {"accuracy": TaskAccuracy, "forgetting": AverageForgetting, "backward_transfer": BackwardTransfer}

        def metrics() -> MetricCollection:
            return MetricCollection({name: kind(self.group_of_class) for name, kind in kinds.items()}, compute_groups=False)

        self.scores = nn.ModuleDict({"all_classes": metrics(), "own_classes": metrics()})
        scheme = next(iter(data.regions))
        self.accuracy = RegionAccuracy(data.regions[scheme], data.region_names[scheme])

    def _check_trainer(self) -> None:
        if self.trainer.world_size > 1:
            raise InputError("sequential training counts in one process: set --trainer.devices=1")
        if self.trainer.check_val_every_n_epoch != 1 or self.trainer.limit_val_batches == 0:
            raise InputError("groups are tested after a validation: leave check_val_every_n_epoch and limit_val_batches alone")
        if (self.trainer.max_epochs or 0) > self.total_epochs:
            raise InputError(f"--trainer.max_epochs={self.trainer.max_epochs}: the groups take {self.total_epochs} epochs")

    def load_state_dict(self, state_dict, strict: bool = True, assign: bool = False):
        """Takes the weights and counts of a run of as many groups and epochs.

        Raises:
            InputError: the run had others, or another model.
        """
        said = "the checkpoint is of other groups, epochs or another model: give its configuration, --config RUN/config.yaml"
        counts = state_dict.get("scores.all_classes.accuracy.total")
        if counts is None or len(counts) != self.groups or state_dict["epochs"] != self.phase.epochs:
            raise InputError(said)
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise InputError(said) from error

    def configure_optimizers(self):
        return phase_optimiser([("model", self.model, self.phase)])

    def on_train_epoch_start(self) -> None:
        seed_epoch(self.current_epoch, self.global_rank)
        self.model.train()

    def on_train_batch_start(self, batch: dict, batch_idx: int) -> None:
        done = self.current_epoch % max(1, self.phase.epochs) + batch_idx / max(1, self.trainer.num_training_batches)
        set_lr(self.trainer.optimizers, "model", self.phase.lr_after(done))

    def training_step(self, batch: dict, batch_idx: int) -> Tensor:
        loss = judge_loss(self.model(batch["small"]), batch["target"], self.trainer.datamodule.class_counts, "plain").mean()
        check_finite([loss], "the loss is", self.global_step, self.current_epoch)
        self.log("train/loss", loss, batch_size=len(batch["target"]))
        return loss

    def _test_after(self, group: int) -> None:
        """Counts the test images after a group has been learned; of a trial run one batch."""
        data = self.trainer.datamodule
        for metric in self._metrics():
            metric.restart(group)
        for batch in islice(data.test_dataloader(), 1 if self.trainer.fast_dev_run else None):
            batch = data.view(move_data_to_device(batch, self.device), augment=False)
            with self.trainer.precision_plugin.forward_context():
                self._count(group, batch)
        for kind, metrics in self.scores.items():
            row = metrics["accuracy"].compute()[group]
            self.log_dict({f"{kind}/group_{i}": value for i, value in enumerate(row)})

    def _metrics(self) -> list[TaskAccuracy]:
        return [metric for metrics in self.scores.values() for metric in metrics.values()]

    def _count(self, group: int, batch: dict) -> Tensor:
        """Counts a batch, and returns the classes it was taken for where all compete."""
        logits, target = self.model(batch["small"]).float(), batch["target"]
        strangers = self.group_of_class != self.group_of_class[target].unsqueeze(1)  # (B, V)
        prediction = logits.argmax(-1)
        self.scores["all_classes"].update(group, prediction, target)
        self.scores["own_classes"].update(group, logits.masked_fill(strangers, float("-inf")).argmax(-1), target)
        return prediction

    def validation_step(self, batch: dict, batch_idx: int) -> None:
        self.accuracy.update(self.model(batch["small"]).argmax(-1), batch["target"])

    def on_validation_epoch_end(self) -> None:
        self._log_regions("val")
        if self.trainer.sanity_checking or self.trainer.state.fn != "fit":
            return
        check_finite(self.parameters(), "the weights are", self.global_step, self.current_epoch)
        if (self.current_epoch + 1) % self.phase.epochs == 0:
            self._test_after(self.group)  # here, before the checkpoint of this epoch is written
        self.log("selection", float(self.current_epoch))  # what is forgotten at the end is the question: the last is "best"

    def _log_regions(self, split: str) -> None:
        self.log_dict({f"{split}/{region}": value for region, value in self.accuracy.compute().items()})
        self.accuracy.reset()

    def on_test_start(self) -> None:
        learned = int((self.scores["all_classes"]["accuracy"].total.sum(1) > 0).sum())
        if learned < self.groups:
            raise InputError(f"this run has learned {learned} of {self.groups} groups: go on with fit --ckpt_path last")
        if not self.trainer.fast_dev_run:
            self._check_same_images()
        for metric in self._metrics():
            metric.restart(self.groups - 1)

    def _check_same_images(self) -> None:
        """Whether the groups are tested on what earlier ones were tested on."""
        data = self.trainer.datamodule
        now = torch.bincount(self.group_of_class.cpu()[data.labels[data.positions["test"]]], minlength=self.groups)
        before = self.scores["all_classes"]["accuracy"].total[0].cpu()
        if not torch.equal(now, before) or sum(self.trainer.num_test_batches) < len(data.test_dataloader()):
            raise InputError("after each group the fit has counted other test images: test with its --data options, and no limit")

    def test_step(self, batch: dict, batch_idx: int) -> None:
        self.accuracy.update(self._count(self.groups - 1, batch), batch["target"])

    def on_test_epoch_end(self) -> None:
        for kind, metrics in self.scores.items():
            found = metrics.compute()
            self.log_dict({f"test/{kind}/{name}": found[name] for name in ("forgetting", "backward_transfer")})
        self._log_regions("test")
