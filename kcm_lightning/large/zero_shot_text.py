"""A model of natural language inference as a zero-shot classifier of texts."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.core.predictions import Query
from kcm_lightning.core.prompts import check_template
from kcm_lightning.large.base import LargeClassifier
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.hugging_face import (
    check_precision,
    fingerprint,
    freeze,
    from_pretrained,
    most_tokens,
    precision_on,
    whole_model,
)

_AT_ONCE = 64  # pairs of text and class


class ZeroShotText(LargeClassifier):
    """Which class a text entails: needs the class names and no training.

    Each text is read once for each class, so that many classes cost as many times more.

    Args:
        name: hub name or folder of a model that `AutoModelForSequenceClassification` loads and that has a
            class `entailment`.
        hypothesis: sentence about a text of a class, a template with `{label}`.
        max_tokens: tokens after which a text is cut off, its sentence counted; null, the default, is the most
            that the model takes.
        precision: number format of the weights: "float32", "float16", "bfloat16", or "auto", the default
            (half precision on a GPU, float32 elsewhere).
    """

    reads = "texts"

    def __init__(
        self,
        name: str,
        hypothesis: str = "This example is {label}.",
        max_tokens: int | None = None,
        precision: str = "auto",
    ):
        check_precision(precision)
        check_template(hypothesis, ("label",), "--model.teacher.hypothesis", optional=())
        self.name, self.hypothesis, self.max_tokens, self.precision = name, hypothesis, max_tokens, precision
        self.model: Any = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        if self.model is None:
            from transformers import AutoModelForSequenceClassification, AutoTokenizer

            option = "--model.teacher.name"
            model = whole_model(AutoModelForSequenceClassification, self.name, option)
            names = {str(name).lower(): number for number, name in model.config.id2label.items()}
            found = [number for name, number in names.items() if name.startswith("entail")]
            if not found:
                raise InputError(
                    f"{option}: {self.name!r} has no class `entailment` but {', '.join(names)}: give a model "
                    "of natural language inference, or take TextClassifier"
                )
            self._entailment = found[0]
            self._tokenizer = from_pretrained(AutoTokenizer, self.name, option)
            limits = [own for own in (most_tokens(model, self._tokenizer), self.max_tokens) if own]
            if not limits:
                raise InputError(
                    f"--model.teacher.max_tokens: {self.name!r} does not say how many tokens it takes: set it"
                )
            self._length = min(limits)
            self.model = freeze(model, device, precision_on(self.precision, device))
        self.model.to(device)
        self.class_names = class_names

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model, self._tokenizer)

    @property
    def identity(self) -> str:
        return f"ZeroShotText {self._fingerprint} {self.model.dtype} {self._length} {self.hypothesis!r}"

    @torch.no_grad()
    def distribution(self, query: Query) -> Tensor:
        """Probabilities of the data's classes: softmax of how much each text entails each."""
        sentences = [self.hypothesis.format(label=str(name).replace("_", " ")) for name in self.class_names]
        pairs = [(text, sentence) for text in query.inputs for sentence in sentences]
        logits = torch.cat(
            [self._entailed(pairs[at : at + _AT_ONCE]) for at in range(0, len(pairs), _AT_ONCE)]
        )
        return logits.view(len(query), len(sentences)).softmax(-1).unsqueeze(1)  # (B, 1, V)

    def _entailed(self, pairs: list[tuple[str, str]]) -> Tensor:
        """Logit of entailment of each pair, float32, shape `(P,)`."""
        texts, sentences = map(list, zip(*pairs, strict=True))
        tokens = self._tokenizer(
            texts,
            sentences,
            padding=True,
            truncation="only_first",
            max_length=self._length,
            return_tensors="pt",
        )
        device = self.model.device
        with torch.autocast(device.type, enabled=False):
            return self.model(**tokens.to(device)).logits[:, self._entailment].float()
