"""Any Hugging Face image classifier as the large model."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.core.predictions import Query
from kcm_lightning.large.base import LargeClassifier
from kcm_lightning.utils.class_names import Labels
from kcm_lightning.utils.hugging_face import (
    check_precision,
    fingerprint,
    freeze,
    from_pretrained,
    places_of_outputs,
    precision_on,
    processed,
    whole_model,
)
from kcm_lightning.utils.model_classes import on_data_classes


class ImageClassifier(LargeClassifier):
    """A model that `AutoModelForImageClassification` loads, timm's among them.

    Args:
        name: hub name or folder of the model; a fine-tuning (`image_classifier_finetune.yaml`) writes such a
            folder.
        precision: number format of the weights: "float32", "float16", "bfloat16", or "auto", the default
            (half precision on a GPU, float32 elsewhere).
        labels: which of the model's classes is which of the data's: "by_name", the default (case, `_` and `-`
            do not count; names that only count up, as `LABEL_0`, are taken in order); "by_position", in the
            same order, where no name matches; or the data's names by the model's, for names that differ. A
            model may know more classes: several may be one of the data's, others none.
    """

    reads = "images"

    def __init__(self, name: str, precision: str = "auto", labels: Labels = "by_name"):
        check_precision(precision)
        self.name, self.precision, self.labels = name, precision, labels
        self.model: Any = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        finetuning = "image_classifier_finetune.yaml"
        if self.model is None:
            from transformers import AutoImageProcessor, AutoModelForImageClassification

            option = "--model.teacher.name"
            model = whole_model(AutoModelForImageClassification, self.name, option, finetuning=finetuning)
            self.processor = from_pretrained(AutoImageProcessor, self.name, option)
            self.model = freeze(model, device, precision_on(self.precision, device))
        self.model.to(device)
        self.class_names = class_names
        self.places = places_of_outputs(
            self.model.config,
            class_names,
            labels=self.labels,
            option="--model.teacher",
            finetuning=finetuning,
        )

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model, self.processor)

    @property
    def identity(self) -> str:
        return f"ImageClassifier {self._fingerprint} {self.model.dtype} {self.labels}"

    @torch.no_grad()
    def distribution(self, query: Query) -> Tensor:
        """Probabilities of the data's classes; the inputs are uint8 images `(B, 3, H, W)` or paths."""
        pixels = processed(self.processor, query.inputs)["pixel_values"]
        with torch.autocast(self.model.device.type, enabled=False):
            logits = self.model(pixels.to(self.model.device, self.model.dtype)).logits.float()
            probabilities = logits.softmax(-1)
        if self.places is not None:
            places = self.places.to(probabilities.device)
            probabilities = on_data_classes(probabilities, places, len(self.class_names))
        return probabilities.unsqueeze(1)  # (B, 1, V)
