"""Any Hugging Face text classifier as the large model."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.core.predictions import Query
from kcm_lightning.core.prompts import BINS, check_template, fill_hint, to_bins
from kcm_lightning.large.base import LargeClassifier
from kcm_lightning.utils.class_names import Labels
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.hugging_face import (
    check_precision,
    fingerprint,
    freeze,
    from_pretrained,
    most_tokens,
    places_of_outputs,
    precision_on,
    whole_model,
)
from kcm_lightning.utils.model_classes import on_data_classes


class TextClassifier(LargeClassifier):
    """A model that `AutoModelForSequenceClassification` loads.

    Args:
        name: hub name or folder of the model; a fine-tuning (`apd_bert_finetune.yaml`) writes such a folder.
        prompt: equation 2, a template with `{label}` and `{probability}` of the small model (in steps of a
            tenth) and `{text}`; null, the default, gives the model the bare text.
        max_tokens: tokens after which a text is cut off, those counted that the tokenizer adds; null, the
            default, is the most that the model takes.
        precision: number format of the weights: "float32", "float16", "bfloat16", or "auto", the default
            (half precision on a GPU, float32 elsewhere).
        labels: which of the model's classes is which of the data's: "by_name", the default (case, `_` and `-`
            do not count; names that only count up, as `LABEL_0`, are taken in order); "by_position", in the
            same order, where no name matches; or the data's names by the model's, for names that differ. A
            model may know more classes: several may be one of the data's, others none.
    """

    reads = "texts"

    def __init__(
        self,
        name: str,
        prompt: str | None = None,
        max_tokens: int | None = None,
        precision: str = "auto",
        labels: Labels = "by_name",
    ):
        check_precision(precision)
        if prompt is not None:
            check_template(prompt, ("text",), "--model.teacher.prompt")
        self.name, self.prompt, self.max_tokens, self.precision = name, prompt, max_tokens, precision
        self.labels, self.uses_hint = labels, prompt is not None
        self.model: Any = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        finetuning = "apd_bert_finetune.yaml"
        if self.model is None:
            from transformers import AutoModelForSequenceClassification, AutoTokenizer

            option = "--model.teacher.name"
            model = whole_model(AutoModelForSequenceClassification, self.name, option, finetuning=finetuning)
            self._tokenizer = from_pretrained(AutoTokenizer, self.name, option)
            if self._tokenizer.pad_token_id is None:
                raise InputError(
                    f"{option}: the tokenizer of {self.name!r} has no padding token: take another model"
                )
            self._length = self._most_tokens(model)
            self.model = freeze(model, device, precision_on(self.precision, device))
        self.model.to(device)
        self.places = places_of_outputs(
            self.model.config,
            class_names,
            labels=self.labels,
            option="--model.teacher",
            finetuning=finetuning,
        )
        self.class_names = class_names

    def _most_tokens(self, model: torch.nn.Module) -> int:
        limit, asked = most_tokens(model, self._tokenizer), self.max_tokens
        if asked is None and limit is None:
            raise InputError(
                f"--model.teacher.max_tokens: {self.name!r} does not say how many tokens it takes: set it"
            )
        least = self._tokenizer.num_special_tokens_to_add() + 1
        if asked is not None and asked < least:
            raise InputError(f"--model.teacher.max_tokens={asked} must be at least {least}, or null")
        return min(number for number in (asked, limit) if number is not None)

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model, self._tokenizer)

    @property
    def identity(self) -> str:
        asked = f"{self._length} {self.prompt!r} {self.labels}"
        return f"TextClassifier {self._fingerprint} {self.model.dtype} {asked}"

    def prompt_keys(self, query: Query) -> list[bytes]:
        if self.prompt is None or query.hint is None:
            return super().prompt_keys(query)
        confidence, label = query.hint.max(-1)
        rows = torch.stack([label, to_bins(confidence, BINS)], dim=-1).to(torch.int16).cpu().numpy()
        return [row.tobytes() for row in rows]

    @torch.no_grad()
    def distribution(self, query: Query) -> Tensor:
        """Probabilities of the data's classes; the inputs are B texts."""
        texts = list(query.inputs)
        if self.prompt is not None and query.hint is not None:
            pairs = zip(texts, query.hint.cpu(), strict=True)
            texts = [fill_hint(self.prompt, self.class_names, own, BINS, text=text) for text, own in pairs]
        options = {"padding": True, "truncation": True, "max_length": self._length}
        tokens = self._tokenizer(texts, return_tensors="pt", **options)
        device = self.model.device
        with torch.autocast(device.type, enabled=False):
            probabilities = self.model(**tokens.to(device)).logits.float().softmax(-1)
        if self.places is not None:
            places = self.places.to(probabilities.device)
            probabilities = on_data_classes(probabilities, places, len(self.class_names))
        return probabilities.unsqueeze(1)  # (B, 1, V)
