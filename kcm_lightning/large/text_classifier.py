"""Any Hugging Face text classifier as the large model."""

from typing import Any

import torch
from torch import Tensor

from kcm_lightning.core.predictions import Query
from kcm_lightning.core.prompts import BINS, check_template, fill_hint, to_bins
from kcm_lightning.large.base import LargeClassifier
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.hugging_face import fingerprint, freeze, from_pretrained, label_order, precision_on


class TextClassifier(LargeClassifier):
    """A model that `AutoModelForSequenceClassification` loads.

    Its classes are matched to the data's by name where both have the same names, else by position.

    Args:
        name: hub name or folder of the model; a fine-tuning (`apd_bert_finetune.yaml`) writes such a folder.
        prompt: equation 2, a template with `{label}` and `{probability}` of the small model (in steps of a
            tenth) and `{text}`; null, the default, gives the model the bare text.
        max_tokens: tokens after which a text is cut off; null, the default, is the most that the model takes.
        precision: number format of the weights: "float32", "float16", "bfloat16", or "auto", the default
            (half precision on a GPU, float32 elsewhere).
    """

    def __init__(
        self, name: str, prompt: str | None = None, max_tokens: int | None = None, precision: str = "auto"
    ):
        if prompt is not None:
            check_template(prompt, ("text",), "--model.teacher.prompt")
        self.name, self.prompt, self.max_tokens, self.precision = name, prompt, max_tokens, precision
        self.uses_hint = prompt is not None
        self.model: Any = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        if self.model is not None:
            self.model.to(device)
            return
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        option = "--model.teacher.name"
        model = from_pretrained(AutoModelForSequenceClassification, self.name, option)
        self._tokenizer = from_pretrained(AutoTokenizer, self.name, option)
        if self._tokenizer.pad_token_id is None:
            raise InputError(
                f"{option}: the tokenizer of {self.name!r} has no padding token: take another model"
            )
        longest = self._tokenizer.model_max_length
        positions = getattr(model.config, "max_position_embeddings", None) or longest
        self._length = min(self.max_tokens or positions, positions, longest)
        finetuning = "apd_bert_finetune.yaml"
        self._order = label_order(model.config, class_names, option=option, finetuning=finetuning)
        self._class_names = class_names
        self.model = freeze(model, device, precision_on(self.precision, device))

    @property
    def identity(self) -> str:
        return f"TextClassifier {fingerprint(self.name)} {self.model.dtype} {self._length} {self.prompt!r}"

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
            texts = [fill_hint(self.prompt, self._class_names, own, BINS, text=text) for text, own in pairs]
        options = {"padding": True, "truncation": True, "max_length": self._length}
        tokens = self._tokenizer(texts, return_tensors="pt", **options)
        device = self.model.device
        with torch.autocast(device.type, enabled=False):
            probabilities = self.model(**tokens.to(device)).logits.float().softmax(-1)
        if self._order is not None:
            probabilities = probabilities[:, self._order.to(device)]
        return probabilities.unsqueeze(1)  # (B, 1, V)
