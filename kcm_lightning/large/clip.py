"""CLIP, or any dual encoder of images and texts, as a zero-shot classifier."""

from functools import cached_property
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from kcm_lightning.core.predictions import Query
from kcm_lightning.core.prompts import PLAIN_PROMPT, check_template, class_prompt, to_bins
from kcm_lightning.core.pruning import without_classes
from kcm_lightning.large.base import LargeClassifier
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.hugging_face import (
    check_precision,
    fingerprint,
    freeze,
    from_pretrained,
    most_tokens,
    precision_on,
    processed,
    whole_model,
)

# The templates that CLIP's authors publish for CIFAR-100 (openai/CLIP, data/prompts.md, MIT license).
_ADJECTIVES = ("", "blurry ", "black and white ", "low contrast ", "high contrast ", "bad ", "good ")
PUBLISHED = tuple(
    [f"a {adjective}photo of {article} {{label}}." for article in ("a", "the") for adjective in _ADJECTIVES]
    + [f"a photo of {article} {size} {{label}}." for article in ("a", "the") for size in ("small", "big")]
)


class CLIP(LargeClassifier):
    """A dual encoder that `AutoModel` loads, used by similarity of image and class prompts.

    With `probability_bins`, equation 2: each class's prompt states the small model's probability of that
    class, rounded to a bin. All `bins * classes` prompts are encoded once, so a modified prompt costs no more
    than a plain one. Without a hint the prompts are the plain ones.

    Args:
        name: hub name or folder of a model that `AutoModel` loads and that encodes images and texts (CLIP,
            SigLIP, ALIGN).
        templates: prompts of a class: "published" (the default: the 18 of CLIP's authors, features averaged),
            "single" ("This is a photo of a {label}"), or a list of your own templates with `{label}`.
        probability_bins: how many probabilities a prompt can state (equation 2), for instance 11 for steps of
            a tenth; null, the default, leaves prompts plain.
        pruned_classes: indices of classes whose prompts stay plain, as the head's in Data Shunt; the others'
            probabilities are renormalized. By default none.
        precision: number format of the weights: "float32", "float16", "bfloat16", or "auto", the default
            (half precision on a GPU, float32 elsewhere).
    """

    reads = "images"
    _text: Tensor
    _class_names: list[str] | None = None  # those that `_text` is of

    def __init__(
        self,
        name: str = "openai/clip-vit-base-patch32",
        templates: Literal["single", "published"] | list[str] = "published",
        probability_bins: int | None = None,
        pruned_classes: list[int] | None = None,
        precision: str = "auto",
    ):
        check_precision(precision)
        if probability_bins is not None and probability_bins < 2:
            raise InputError(
                f"--model.teacher.probability_bins={probability_bins} must be at least 2, or null"
            )
        templates = {"single": [PLAIN_PROMPT], "published": list(PUBLISHED)}.get(str(templates), templates)
        for template in templates:
            check_template(template, ("label",), "--model.teacher.templates", optional=())
        self.name, self.precision, self.templates = name, precision, templates
        self.bins, self.pruned_classes = probability_bins, pruned_classes or []
        self.uses_hint = probability_bins is not None
        self.model: Any = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        if not set(self.pruned_classes) <= set(range(len(class_names))):
            raise InputError(
                f"--model.teacher.pruned_classes: give some of the classes 0 to {len(class_names) - 1}"
            )
        if len({name.replace("_", " ") for name in class_names}) < len(class_names):
            raise InputError(
                "two classes of the data have one name, so that CLIP cannot tell them apart: rename one"
            )
        if self.model is None:
            from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

            option = "--model.teacher.name"
            model = whole_model(AutoModel, self.name, option)
            _check_is_dual_encoder(model, self.name)
            self.processor = from_pretrained(AutoImageProcessor, self.name, option)
            self._tokenizer = from_pretrained(AutoTokenizer, self.name, option)
            self.model = freeze(model, device, precision_on(self.precision, device))
        self.model.to(device)
        if class_names != self._class_names:
            self._text, self._class_names = self._encode_prompts(class_names), class_names
        self._text = self._text.to(device)

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model, self.processor, self._tokenizer)

    @property
    def identity(self) -> str:
        asked = f"{self.templates} {self.bins} {self.pruned_classes}"
        return f"CLIP {self._fingerprint} {self.model.dtype} {asked}"

    def prompt_keys(self, query: Query) -> list[bytes]:
        if self.bins is None or query.hint is None:
            return super().prompt_keys(query)
        bins = self._bins_of(query.hint, self.bins).to(torch.int16).cpu().numpy()
        return [row.tobytes() for row in bins]

    @torch.no_grad()
    def distribution(self, query: Query) -> Tensor:
        """Probabilities of the data's classes; the inputs are uint8 images `(B, 3, H, W)` or paths."""
        pixels = {
            name: value.to(self.model.device, self.model.dtype if value.is_floating_point() else None)
            for name, value in processed(self.processor, query.inputs).items()
        }
        with torch.autocast(self.model.device.type, enabled=False):
            image = self.model.get_image_features(**pixels)
            image = F.normalize(_features(image).float(), dim=-1)  # (B, D)
            logits = image @ self._text.flatten(0, 1).T  # (B, (bins + 1) * V)
            logits = logits.unflatten(-1, self._text.shape[:2])  # (B, bins + 1, V)
            if self.bins is None or query.hint is None:
                logits = logits[:, -1]
            else:
                bins = self._bins_of(query.hint.to(logits.device), self.bins)  # (B, V)
                logits = logits.gather(1, bins.unsqueeze(1)).squeeze(1)
            logits = logits * self._scale() + getattr(self.model, "logit_bias", 0.0)
            return logits.softmax(-1).unsqueeze(1)  # (B, 1, V)

    def _scale(self) -> Tensor:
        """What similarities are multiplied by; ALIGN has a temperature instead."""
        if hasattr(self.model, "logit_scale"):
            return self.model.logit_scale.float().exp()
        return 1 / self.model.temperature.float()

    def _bins_of(self, hint: Tensor, count: int) -> Tensor:
        """Which of the prompts of each class is used, `(B, V)`."""
        bins = to_bins(without_classes(hint, self.pruned_classes), count)
        bins[:, self.pruned_classes] = count  # the plain prompts come last
        return bins

    @torch.no_grad()
    def _encode_prompts(self, class_names: list[str]) -> Tensor:
        """Text features of every prompt, mean over templates: bins first, plain last; `(bins + 1, V, D)`."""
        bins = self.bins or 0
        stated: list[float | None] = [*(number / (bins - 1) for number in range(bins)), None]
        texts = [
            class_prompt(text, name, p) for p in stated for name in class_names for text in self.templates
        ]
        # SigLIP was trained on texts padded to full length, CLIP masks its padding
        padding = "max_length" if self.model.config.model_type.startswith("siglip") else True
        length = most_tokens(self.model.text_model, self._tokenizer)
        options = {"padding": padding, "truncation": True, "max_length": length, "return_tensors": "pt"}
        features = []
        for start in range(0, len(texts), 256):
            tokens = self._tokenizer(texts[start : start + 256], **options)
            features.append(_features(self.model.get_text_features(**tokens.to(self.model.device))).float())
        by_prompt = F.normalize(torch.cat(features), dim=-1)
        by_prompt = by_prompt.unflatten(0, (len(stated), len(class_names), len(self.templates)))
        return F.normalize(by_prompt.mean(2), dim=-1)


def _check_is_dual_encoder(model: Any, name: str) -> None:
    parts = ("get_image_features", "get_text_features", "text_model")
    if not all(hasattr(model, part) for part in parts) or not (
        hasattr(model, "logit_scale") or hasattr(model, "temperature")
    ):
        raise InputError(
            f"--model.teacher.name: {name!r} is a {type(model).__name__}, which does not compare images with "
            "texts as CLIP does; give a CLIP, SigLIP or ALIGN"
        )


def _features(output: Any) -> Tensor:
    """The pooled features; transformers 5 wraps them in an output object, some models return them bare."""
    return output if isinstance(output, Tensor) else output.pooler_output
