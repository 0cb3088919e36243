"""Any Hugging Face captioner as the large model: BLIP, BLIP-2, GIT."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from kcm_lightning.errors import InputError
from kcm_lightning.hugging_face import PRECISIONS, fingerprint, freeze, from_pretrained
from kcm_lightning.large.base import Answer, LargeModel
from kcm_lightning.pictures import open_picture
from kcm_lightning.prompts import check_template


class ImageToText(LargeModel):
    """A model that `AutoModelForImageTextToText` loads.

    Its confidence in a caption is the geometric mean of the probabilities of the caption's tokens, its end counted.

    Args:
        name: hub name or folder.
        prompt: what the caption goes on from, for instance "a photo of"; null leaves the model free.
        hint: equation 2, a sentence put before the prompt, with `{label}`, the small model's caption, and
            `{probability}`, its confidence; null leaves it out.
        beams: of beam search; 1 is greedy.
        max_new_tokens: of a caption.
        precision: "float32", "float16", "bfloat16", "int8" (needs bitsandbytes and a GPU), or "auto" (half on a GPU,
            float32 elsewhere).
    """

    def __init__(
        self,
        name: str,
        prompt: str | None = None,
        hint: str | None = None,
        beams: int = 5,
        max_new_tokens: int = 30,
        precision: str = "auto",
    ):
        if hint is not None:
            check_template(hint, (), "--model.teacher.hint")
        if precision not in (*PRECISIONS, "int8", "auto"):
            raise InputError(f"--model.teacher.precision={precision!r} is none of {', '.join(PRECISIONS)}, int8, auto")
        self.name, self.prompt, self.hint, self.precision = name, prompt, hint, precision
        self.beams, self.max_new_tokens = beams, max_new_tokens
        self.uses_hint = hint is not None
        self.model = None

    def load(self, class_names: list[str], device: torch.device) -> None:
        """Fetches the weights; captions have no classes."""
        if self.model is not None:
            return
        from transformers import AutoModelForImageTextToText, AutoProcessor

        option = "--model.teacher.name"
        self.processor = from_pretrained(AutoProcessor, self.name, option)
        self.processor.tokenizer.padding_side = "left"  # what is generated follows the prompt
        if self.precision == "int8":
            self.model = from_pretrained(AutoModelForImageTextToText, self.name, option, **_in_8_bits()).eval()
        else:
            self.model = freeze(from_pretrained(AutoModelForImageTextToText, self.name, option), self.precision, device)

    @property
    def identity(self) -> str:
        asked = f"{self.prompt!r} {self.hint!r} {self.beams} {self.max_new_tokens}"
        return f"ImageToText {fingerprint(self.name)} {self.precision} {self.model.dtype} {asked}"

    def distribution(self, inputs: Any, hint: Any = None, samples: Tensor | None = None) -> Tensor:
        raise NotImplementedError("a captioner has answers, not a distribution over classes")

    @torch.no_grad()
    def answer(
        self, inputs: Sequence[str], hint: Answer | None = None, samples: Tensor | None = None, temperature: float = 1.0
    ) -> Answer:
        """Captions of pictures.

        Args:
            inputs: paths of B pictures.
            hint: the small model's captions and confidences.
            samples: not used.
            temperature: divisor of each token's log-probability before the confidence is taken.
        """
        pictures: list[Image.Image] = [open_picture(Path(path)) for path in inputs]
        texts = self._prompts(hint, len(pictures))
        asked = {} if texts is None else {"text": texts, "padding": True}
        batch = self.processor(images=pictures, return_tensors="pt", **asked).to(self.model.device)
        batch = {name: value.to(self.model.dtype) if value.is_floating_point() else value for name, value in batch.items()}
        with torch.autocast(self.model.device.type, enabled=False):
            made = self.model.generate(
                **batch,
                num_beams=self.beams,
                do_sample=False,
                max_new_tokens=self.max_new_tokens,
                output_scores=True,
                return_dict_in_generate=True,
            )
        said = self.model.compute_transition_scores(
            made.sequences, made.scores, getattr(made, "beam_indices", None), normalize_logits=self.beams == 1
        ).float()
        tokens = made.sequences[:, -said.shape[1] :]
        counted = self._counted(tokens) & torch.isfinite(said)
        mean = (said * counted).nan_to_num(0.0, neginf=0.0).sum(1) / counted.sum(1).clamp_min(1)
        captions = [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]
        return Answer(captions, (mean / temperature).exp())

    def _counted(self, tokens: Tensor) -> Tensor:
        """Which tokens are the caption's: all up to and with its first end."""
        config = self.model.generation_config
        ends = torch.tensor([config.eos_token_id] if isinstance(config.eos_token_id, int) else config.eos_token_id or [])
        ended = torch.isin(tokens, ends.to(tokens.device))
        return ended.cumsum(1) - ended.long() == 0

    def _prompts(self, hint: Answer | None, count: int) -> list[str] | None:
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
        raise InputError("--model.teacher.precision=int8 needs a GPU and bitsandbytes: pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True), "device_map": "auto"}
