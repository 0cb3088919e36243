"""Any Hugging Face image classifier as the large model."""

from typing import Any

import torch
from torch import Tensor

from kcm_lightning.core.predictions import Query
from kcm_lightning.large.base import LargeClassifier
from kcm_lightning.utils.hugging_face import fingerprint, freeze, from_pretrained, label_order, precision_on


class ImageClassifier(LargeClassifier):
    """A model that `AutoModelForImageClassification` loads.

    Its classes are matched to the data's by name where both have the same names, else by position.

    Args:
        name: hub name or folder of the model; a fine-tuning (`image_classifier_finetune.yaml`) writes such a
            folder.
        precision: number format of the weights: "float32", "float16", "bfloat16", or "auto", the default
            (half precision on a GPU, float32 elsewhere).
    """

    def __init__(self, name: str, precision: str = "auto"):
        self.name, self.precision = name, precision
        self.model: Any = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        if self.model is not None:
            self.model.to(device)
            return
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        model = from_pretrained(AutoModelForImageClassification, self.name, "--model.teacher.name")
        self.processor = from_pretrained(AutoImageProcessor, self.name, "--model.teacher.name")
        option, finetuning = "--model.teacher.name", "image_classifier_finetune.yaml"
        self.order = label_order(model.config, class_names, option=option, finetuning=finetuning)
        self.model = freeze(model, device, precision_on(self.precision, device))

    @property
    def identity(self) -> str:
        return f"ImageClassifier {fingerprint(self.name)} {self.model.dtype}"

    @torch.no_grad()
    def distribution(self, query: Query) -> Tensor:
        """Probabilities of the data's classes; the inputs are images, uint8, shape `(B, 3, H, W)`."""
        pixels = self.processor(images=query.inputs, return_tensors="pt")["pixel_values"]
        with torch.autocast(query.inputs.device.type, enabled=False):
            logits = self.model(pixels.to(self.model.device, self.model.dtype)).logits.float()
            probabilities = logits.softmax(-1)
        if self.order is not None:
            probabilities = probabilities[:, self.order.to(probabilities.device)]
        return probabilities.unsqueeze(1)  # (B, 1, V)
