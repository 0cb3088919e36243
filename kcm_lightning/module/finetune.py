"""Supervised training of a large classifier, with the same data modules."""

import os
import shutil
from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from kcm_lightning.data.base import Batch, TrainingSamples
from kcm_lightning.module.made_of import MadeOf, preparation_by
from kcm_lightning.module.named_weights import NamedWeights
from kcm_lightning.module.optimizers import Phase, check_finite, phase_optimizer, set_lr
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.hugging_face import from_pretrained
from kcm_lightning.utils.ranges import check_number
from kcm_lightning.utils.seed import seed_epoch


class FineTune(NamedWeights):
    """Trains a Hugging Face classifier and writes a folder that a large model loads.

    The folder is written when training is over, with the weights of the epoch that was best by validation
    accuracy; until then they are in the run's checkpoints.

    Args:
        output: folder to write; it must not exist yet.
        training: epochs, learning rate, weight decay and warm-up.
        label_smoothing: label smoothing of the cross-entropy, a fraction in [0, 1].
    """

    weights_option = "model"

    def __init__(self, output: str, training: Phase, label_smoothing: float):
        super().__init__()
        check_number("--model.label_smoothing", label_smoothing, 0, 1)
        self.output, self.phase, self.label_smoothing = Path(output), training, label_smoothing
        self.model: Any = None
        self.processor: Any = None

    @abstractmethod
    def build(self, labels: dict[str, Any]) -> None:
        """Makes `model` and `processor`; `labels` are the options `id2label` and `label2id`."""

    @abstractmethod
    def logits(self, batch: Batch, training: bool) -> Tensor:
        """The model's logits of a batch, shape `(B, V)`; augmented where the data augments and it trains."""

    @property
    def named_model(self) -> nn.Module:
        return self.model

    def made_of(self, data: Any, class_names: list[str]) -> MadeOf:
        found = super().made_of(data, class_names)
        found.data |= preparation_by(self.processor)
        return found

    @property
    def total_epochs(self) -> int:
        return self.phase.epochs

    def training_samples(self) -> TrainingSamples:
        """What each epoch trains on, as the data module asks: the training split."""
        return TrainingSamples()

    def setup(self, stage: str) -> None:
        if self.model is not None:
            return
        if stage == "fit" and self.output.exists() and not self.trainer.fast_dev_run:
            raise InputError(
                f"--model.output: {self.output} exists already; give another name, or move it away"
            )
        try:
            self.output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"--model.output: {self.output.parent} cannot be written to: {error.strerror}"
            ) from error
        labels = dict(enumerate(self.trainer.datamodule.class_names))
        self.build({"id2label": labels, "label2id": {label: i for i, label in labels.items()}})
        self.accuracy = MulticlassAccuracy(len(labels), average="micro")

    def configure_optimizers(self) -> Any:
        return phase_optimizer([("model", self.model, self.phase)])

    def on_train_epoch_start(self) -> None:
        seed_epoch(self.current_epoch, self.global_rank)
        self.model.train()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        done = self.current_epoch + batch_idx / max(1, self.trainer.num_training_batches)
        set_lr(self.trainer.optimizers, "model", self.phase.lr_after(done))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        logits = self.logits(batch, training=True).float()
        loss = F.cross_entropy(logits, batch["target"], label_smoothing=self.label_smoothing)
        check_finite([loss], "the loss is", self.global_step, self.current_epoch)
        self.log("train/loss", loss, batch_size=len(batch["target"]))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.accuracy.update(self.logits(batch, training=False).argmax(-1), batch["target"])

    def on_validation_epoch_end(self) -> None:
        if self.trainer.state.fn == "fit":
            check_finite(self.parameters(), "the weights are", self.global_step, self.current_epoch)
        accuracy = self.accuracy.compute()
        self.accuracy.reset()
        self.log("val/accuracy", accuracy)
        self.log("selection", accuracy, logger=False)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self.log("test/accuracy", self.accuracy.compute())

    def on_fit_end(self) -> None:
        if self.trainer.fast_dev_run or not self.trainer.is_global_zero:
            return
        callbacks = self.trainer.checkpoint_callbacks
        monitors = [own for own in callbacks if getattr(own, "monitor", None) == "selection"]
        best = monitors[-1].best_model_path  # a user's own come before ours
        if not best:
            raise InputError(f"--model.output: {self.output} is not written, as no epoch was validated")
        self.load_state_dict(torch.load(best, map_location=self.device, weights_only=True)["state_dict"])
        self._write()
        print(f"the model of the best epoch is in {self.output}")

    def _write(self) -> None:
        """Writes the Hugging Face folder beside its place and then moves it there."""
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # of one file
        partial = self.output.with_name(f".{self.output.name}.{os.getpid()}")
        try:
            self.model.save_pretrained(partial)
            self.processor.save_pretrained(partial)
        except (OSError, SafetensorError) as error:  # a full disk, for instance
            shutil.rmtree(partial, ignore_errors=True)
            raise InputError(
                f"--model.output: {self.output} cannot be written ({error}); its weights are in the run's "
                "checkpoints/best.ckpt"
            ) from error
        try:
            os.replace(partial, self.output)
        except OSError as error:  # something has taken the place since `setup` looked
            raise InputError(
                f"--model.output: {self.output} cannot be replaced; the model is in {partial}"
            ) from error


class FineTuneImageClassifier(FineTune):
    """Makes a folder that `ImageClassifier` loads.

    Args:
        output: folder to write; it must not exist yet.
        training: epochs, learning rate, weight decay and warm-up.
        name: hub name or folder of the model to start from; null where `architecture` is given instead.
        architecture: instead of a name, `model_type` and options of its configuration: trained from random
            weights.
        image_size: height and width in pixels that images are resized to; null, the default, keeps those of
            the named model's processor.
        label_smoothing: label smoothing of the cross-entropy, a fraction in [0, 1].
    """

    def __init__(
        self,
        output: str,
        training: Phase,
        name: str | None = None,
        architecture: dict[str, Any] | None = None,
        image_size: int | None = None,
        label_smoothing: float = 0.1,
    ):
        super().__init__(output, training, label_smoothing)
        if (name is None) == (architecture is None):
            raise InputError("give one of --model.name (a model to start from) and --model.architecture")
        if architecture is not None and image_size is None:
            raise InputError("--model.architecture needs --model.image_size")
        self.name, self.architecture, self.image_size = name, architecture, image_size

    def build(self, labels: dict[str, Any]) -> None:
        from transformers import (
            AutoConfig,
            AutoImageProcessor,
            AutoModelForImageClassification,
            ViTImageProcessor,
        )

        data = self.trainer.datamodule
        if self.architecture is not None:
            config = AutoConfig.for_model(**self.architecture, **labels)
            self.model = AutoModelForImageClassification.from_config(config)
            mean, std = list(data.mean), list(data.std)
        else:
            assert self.name is not None  # a name or an architecture: the constructor looked
            self.model = from_pretrained(
                AutoModelForImageClassification,
                self.name,
                "--model.name",
                ignore_mismatched_sizes=True,
                **labels,
            )
            self.processor = from_pretrained(AutoImageProcessor, self.name, "--model.name")
            mean, std = self.processor.image_mean, self.processor.image_std
        if (
            self.image_size is not None
        ):  # plain resizing: other processors crop, or name their sizes otherwise
            size = {"height": self.image_size, "width": self.image_size}
            self.processor = ViTImageProcessor(size=size, image_mean=mean, image_std=std)

    def logits(self, batch: Batch, training: bool) -> Tensor:
        if not training:
            pixels = self.processor(images=batch["large"], return_tensors="pt")["pixel_values"]
            return self.model(pixels).logits
        data = self.trainer.datamodule
        mean, std = (torch.tensor(v, device=self.device)[:, None, None] for v in (data.mean, data.std))
        augmented = (batch["small"] * std + mean).clamp(0, 1)
        pixels = self.processor(images=augmented, do_rescale=False, return_tensors="pt")["pixel_values"]
        return self.model(pixels).logits


class FineTuneTextClassifier(FineTune):
    """Makes a folder that `TextClassifier` loads.

    Args:
        output: folder to write; it must not exist yet.
        training: epochs, learning rate, weight decay and warm-up.
        name: hub name or folder of any encoder that `AutoModelForSequenceClassification` loads.
        max_tokens: tokens after which a text is cut off.
        label_smoothing: label smoothing of the cross-entropy, a fraction in [0, 1]; 0, the default, is none.
    """

    def __init__(
        self, output: str, training: Phase, name: str, max_tokens: int = 256, label_smoothing: float = 0.0
    ):
        super().__init__(output, training, label_smoothing)
        self.name, self.max_tokens = name, max_tokens

    def build(self, labels: dict[str, Any]) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.model = from_pretrained(
            AutoModelForSequenceClassification,
            self.name,
            "--model.name",
            ignore_mismatched_sizes=True,
            **labels,
        )
        positions = getattr(self.model.config, "max_position_embeddings", None) or self.max_tokens
        if self.max_tokens > positions:
            raise InputError(
                f"--model.max_tokens={self.max_tokens}: {self.name!r} takes {positions} tokens at most"
            )
        self.processor = from_pretrained(
            AutoTokenizer, self.name, "--model.name", model_max_length=self.max_tokens
        )
        if self.processor.pad_token_id is None:
            raise InputError(
                f"--model.name: the tokenizer of {self.name!r} has no padding token: take another model"
            )

    def logits(self, batch: Batch, training: bool) -> Tensor:
        tokens = self.processor(batch["large"], padding=True, truncation=True, return_tensors="pt")
        return self.model(**tokens.to(self.device)).logits
