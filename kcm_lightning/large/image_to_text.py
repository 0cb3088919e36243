"""Any Hugging Face captioner as the large model: BLIP, BLIP-2, GIT."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from kcm_lightning.core.confidence import caption_confidence
from kcm_lightning.core.predictions import Prediction, Query
from kcm_lightning.core.prompts import check_template
from kcm_lightning.large.captioner import TOP_K, CaptionAnswer, LargeCaptioner, TokenSteps, join
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.hugging_face import (
    check_precision,
    fingerprint,
    freeze,
    from_pretrained,
    precision_on,
    whole_model,
)
from kcm_lightning.utils.image_io import open_image


class ImageToText(LargeCaptioner):
    """A model that `AutoModelForImageTextToText` loads.

    Its confidence in a caption is the geometric mean of the probabilities of the caption's tokens, its end
    counted.

    Args:
        name: hub name or folder of the model.
        prompt: words that the caption goes on from, for instance "a photo of"; null, the default, leaves the
            model free.
        hint: equation 2, a sentence put before the prompt, with `{label}`, the small model's caption, and
            `{probability}`, its confidence; null, the default, leaves it out.
        beams: captions that beam search follows at once; 1 is greedy. 5 by default.
        max_new_tokens: length of a caption at most, in tokens.
        batch_size: images that the model captions at once, whatever the size of the batch; beam search keeps
            the scores of all tokens for each.
        precision: number format of the weights: "float32", "float16", "bfloat16", "int8" (needs bitsandbytes
            and a GPU), or "auto", the default (half precision on a GPU, float32 elsewhere).
    """

    def __init__(
        self,
        name: str,
        prompt: str | None = None,
        hint: str | None = None,
        beams: int = 5,
        max_new_tokens: int = 30,
        batch_size: int = 16,
        precision: str = "auto",
    ):
        if hint is not None:
            check_template(hint, (), "--model.teacher.hint")
        for option, number in (
            ("beams", beams),
            ("max_new_tokens", max_new_tokens),
            ("batch_size", batch_size),
        ):
            if number < 1:
                raise InputError(f"--model.teacher.{option}={number} must be at least 1")
        check_precision(precision, "int8")
        self.name, self.prompt, self.hint, self.precision = name, prompt, hint, precision
        self.beams, self.max_new_tokens, self.batch_size = beams, max_new_tokens, batch_size
        self.uses_hint = hint is not None
        self.model: Any = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        """Fetches the weights; captions have no classes."""
        if self.model is not None:
            return
        from transformers import AutoModelForImageTextToText, AutoProcessor

        option = "--model.teacher.name"
        self.processor = from_pretrained(AutoProcessor, self.name, option)
        if not hasattr(self.processor, "tokenizer") or not hasattr(self.processor, "image_processor"):
            raise InputError(
                f"{option}: {self.name!r} does not say how it takes images and texts (it has no processor): "
                "give another"
            )
        self.tokenizer = self.processor.tokenizer
        self.tokenizer.padding_side = "left"  # what is generated follows the prompt
        if self.precision == "int8":
            model = whole_model(AutoModelForImageTextToText, self.name, option, **_in_8_bits())
            self.model = model.eval()
        else:
            dtype = precision_on(self.precision, device)  # some models keep parts of themselves in float32
            model = whole_model(AutoModelForImageTextToText, self.name, option, dtype=dtype)
            self.model = freeze(model, device)

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model, self.processor)

    @property
    def identity(self) -> str:
        asked = f"{self.prompt!r} {self.hint!r} {self.beams} {self.max_new_tokens}"
        return f"ImageToText {self._fingerprint} {self.precision} {self.model.dtype} {asked}"

    def prompt_keys(self, query: Query) -> list[bytes]:
        return [prompt.encode() for prompt in self._prompts(query.hint, len(query)) or [""] * len(query)]

    def caption(self, query: Query, *, with_steps: bool = False) -> CaptionAnswer:
        """Captions of images, by their paths."""
        texts = self._prompts(query.hint, len(query))
        parts: list[CaptionAnswer] = []
        order: list[int] = []
        for rows in self._together(texts, len(query)):
            order += rows
            own = None if texts is None else [texts[row] for row in rows]
            parts.append(self._generate([query.inputs[row] for row in rows], own, with_steps))
        return join(parts).rows(torch.tensor(order).argsort())

    def _together(self, texts: list[str] | None, count: int) -> list[list[int]]:
        """Rows that are captioned at once.

        BLIP's `generate` takes no padding before a prompt, so there the prompts of a batch are equally long.
        """
        groups = {0: list(range(count))}
        if texts is not None and self.model.config.model_type == "blip":
            groups = {}
            for row, text in enumerate(texts):
                groups.setdefault(len(self.tokenizer(text)["input_ids"]), []).append(row)
        size = self.batch_size
        return [rows[start : start + size] for rows in groups.values() for start in range(0, len(rows), size)]

    @torch.no_grad()
    def _generate(self, paths: list[str], prompts: list[str] | None, with_steps: bool) -> CaptionAnswer:
        with torch.autocast(self.model.device.type, enabled=False):
            made = self.model.generate(
                **self._batch(paths, prompts),
                num_beams=self.beams,
                do_sample=False,
                max_new_tokens=self.max_new_tokens,
                output_scores=True,
                output_logits=with_steps,
                return_dict_in_generate=True,
            )
        beams = getattr(made, "beam_indices", None)
        log_probs = self.model.compute_transition_scores(
            made.sequences, made.scores, beams, normalize_logits=self.beams == 1
        ).float()
        tokens = made.sequences[:, -log_probs.shape[1] :]
        counted = self._counted(tokens)
        if beams is not None:
            counted &= beams >= 0
        texts = [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]
        broken = (counted & ~torch.isfinite(log_probs)).any(
            1
        )  # half precision can overflow: that is no answer
        captions = [None if bad else text for text, bad in zip(texts, broken.tolist(), strict=True)]
        confidence = caption_confidence(log_probs, counted).masked_fill(broken, float("nan"))
        steps = self._steps(made.logits, beams, tokens, counted) if with_steps else None
        return CaptionAnswer(captions, confidence, steps=steps)

    def _batch(self, paths: list[str], prompts: list[str] | None) -> dict[str, Tensor]:
        """What `generate` takes of images and prompts."""
        images: list[Image.Image] = [open_image(Path(path)) for path in paths]
        texts = {} if prompts is None else {"text": prompts, "padding": True}
        batch = self.processor(images=images, return_tensors="pt", **texts).to(self.model.device)
        dtype = self.model.dtype
        batch = {
            name: value.to(dtype) if value.is_floating_point() else value for name, value in batch.items()
        }
        if prompts is not None and self.model.config.model_type == "git":
            # its processor ends a prompt as if it were a caption
            batch |= {name: batch[name][:, :-1] for name in ("input_ids", "attention_mask")}
        return batch

    def _steps(
        self, logits: tuple[Tensor, ...], beams: Tensor | None, tokens: Tensor, counted: Tensor
    ) -> TokenSteps:
        """The distributions that the tokens of the best captions were chosen from."""
        every = torch.arange(len(tokens), device=tokens.device)
        tops = []
        for place in range(tokens.shape[1]):
            rows = every if beams is None else beams[:, place].clamp_min(0)
            tops.append(logits[place][rows].float().softmax(-1).topk(min(TOP_K, logits[place].shape[-1])))
        left_out = ~counted.unsqueeze(-1)
        return TokenSteps(
            tokens=tokens.masked_fill(~counted, -1),
            topk_tokens=torch.stack([top.indices for top in tops], 1).masked_fill(left_out, -1),
            topk_probs=torch.stack([top.values for top in tops], 1).masked_fill(left_out, 0.0),
            end=int(self._ends()[0]),
        )

    def _ends(self) -> Tensor:
        ends = self.model.generation_config.eos_token_id
        if self.model.config.model_type == "blip":  # what its `generate` passes on
            ends = self.model.config.text_config.sep_token_id
        return torch.tensor([ends] if isinstance(ends, int) else ends or [-1])

    def _counted(self, tokens: Tensor) -> Tensor:
        """Which tokens are the caption's: all up to and with its first end."""
        ended = torch.isin(tokens, self._ends().to(tokens.device))
        return ended.cumsum(1) - ended.long() == 0

    def _prompts(self, hint: Prediction | None, count: int) -> list[str] | None:
        if self.hint is None or hint is None:
            return None if self.prompt is None else [self.prompt] * count
        sentences = [
            self.hint.format(label=caption, probability=confidence)
            for caption, confidence in zip(hint.prediction, hint.confidence.tolist(), strict=True)
        ]
        return [f"{sentence} {self.prompt or ''}".strip() for sentence in sentences]


def _in_8_bits() -> dict[str, Any]:
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None or not torch.cuda.is_available():
        raise InputError(
            "--model.teacher.precision=int8 needs a GPU and bitsandbytes: pip install bitsandbytes"
        )
    from transformers import BitsAndBytesConfig

    return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True), "device_map": "auto"}
