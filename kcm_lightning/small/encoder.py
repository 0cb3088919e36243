"""A head on a frozen encoder: the usual way to a strong small model on few labels."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kcm_lightning.kan import KANLinear
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.hugging_face import fingerprint, freeze, from_pretrained, most_tokens, whole_model
from kcm_lightning.utils.tokens import PADDING

_HIDDEN = {"s": None, "m": 128, "l": 512}
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what ImageFolder normalizes by
_MARK = 16  # bytes of the encoder's fingerprint that a checkpoint keeps


class _Frozen:
    """A model that is in no checkpoint, is never trained, and is shared by copies of who holds it."""

    def __init__(self, model: nn.Module):
        self.model = model

    def __deepcopy__(self, memo: dict) -> "_Frozen":
        return self

    def on(self, device: torch.device) -> Any:
        return self.model.to(device)


class EncoderWithHead(nn.Module):
    """A frozen encoder of images or texts, and a small trained head on its pooled features.

    Judge and student share the encoder, which stands in no checkpoint: its weights come from where its name
    says, and a checkpoint notes which they were.

    Args:
        num_classes: classes to tell apart.
        encoder: hub name or folder of a model that `AutoModel` loads, timm's among them. For texts, its
            tokenizer has to be `--data.tokenizer`.
        head: "kan", the default, layers of splines; or "linear", their twin of plain layers.
        size: the head's: "s", one layer; "m", the default, a hidden layer of 128 features; "l", of 512.
        dropout: share of the pooled features that training drops.
        grid: grid intervals of a spline.
        order: degree of a spline: 1 is piecewise linear, 3, the default, cubic.
    """

    scale: Tensor
    shift: Tensor
    encoder_mark: Tensor

    def __init__(
        self,
        num_classes: int,
        encoder: str,
        head: Literal["kan", "linear"] = "kan",
        size: Literal["s", "m", "l"] = "m",
        dropout: float = 0.1,
        grid: int = 5,
        order: int = 3,
    ):
        from transformers import AutoModel

        super().__init__()
        self.num_classes, option = num_classes, "--model.judge.encoder"
        model = freeze(whole_model(AutoModel, encoder, option), torch.device("cpu"), torch.float32)
        self._encoder, self._of_texts = _Frozen(model), model.main_input_name == "input_ids"
        if self._of_texts:
            self._read_tokenizer(encoder, option)
        else:
            self._read_processor(encoder, option)
        features = self._pooled(self._example()).shape[1]
        self.norm, self.dropout = nn.LayerNorm(features), nn.Dropout(dropout)
        self.head = _head(features, num_classes, _HIDDEN[size], splines=head == "kan", grid=grid, order=order)
        mark = bytes.fromhex(fingerprint(model)[: 2 * _MARK])
        self.register_buffer("encoder_mark", torch.tensor(list(mark), dtype=torch.uint8))
        self.register_load_state_dict_pre_hook(_check_mark)

    def _read_tokenizer(self, encoder: str, option: str) -> None:
        from transformers import AutoTokenizer

        tokenizer = from_pretrained(AutoTokenizer, encoder, option)
        self.vocab_size, self._most = len(tokenizer), most_tokens(self._encoder.model, tokenizer)

    def _read_processor(self, encoder: str, option: str) -> None:
        """How the encoder wants its images: their size, mean and deviation."""
        from transformers import AutoImageProcessor

        processor = from_pretrained(AutoImageProcessor, encoder, option)
        timm = getattr(processor, "data_config", None)
        if timm is not None:
            self._side, mean, std = timm["input_size"][-1], timm["mean"], timm["std"]
        else:
            size = getattr(processor, "crop_size", None) or processor.size
            self._side = size.get("height") or size.get("shortest_edge")
            mean, std = processor.image_mean, processor.image_std
        scale = torch.tensor(_IMAGENET[1]) / torch.tensor(std)
        shift = (torch.tensor(_IMAGENET[0]) - torch.tensor(mean)) / torch.tensor(std)
        self.register_buffer("scale", scale[:, None, None], persistent=False)
        self.register_buffer("shift", shift[:, None, None], persistent=False)

    def _example(self) -> Tensor:
        return torch.ones(1, 4, dtype=torch.long) if self._of_texts else torch.zeros(1, 3, 32, 32)

    @torch.no_grad()
    def _pooled(self, inputs: Tensor) -> Tensor:
        """The encoder's features of each sample, float32, shape `(B, F)`."""
        model = self._encoder.on(inputs.device)
        if self._of_texts:
            tokens = inputs[:, : self._most]
            mask = tokens != PADDING
            mask[:, 0] = True  # an empty text has a token too
            states = model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
            counts = mask.unsqueeze(-1)
            return ((states * counts).sum(1) / counts.sum(1)).float()
        images = inputs * self.scale + self.shift
        if images.shape[-1] != self._side:
            images = F.interpolate(images, (self._side, self._side), mode="bilinear", antialias=True)
        output = model(pixel_values=images)
        pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            states = output.last_hidden_state
            pooled = states.mean(1) if states.dim() == 3 else states.mean((2, 3))
        return pooled.flatten(1).float()

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape `(B, num_classes)`.

        Args:
            inputs: normalized images, shape `(B, 3, H, W)`; or token numbers, shape `(B, T)`, padded with 0.
        """
        return self.head(self.dropout(self.norm(self._pooled(inputs))))


def _head(
    features: int, classes: int, hidden: int | None, *, splines: bool, grid: int, order: int
) -> nn.Module:
    def layer(inputs: int, outputs: int) -> nn.Module:
        return KANLinear(inputs, outputs, grid=grid, order=order) if splines else nn.Linear(inputs, outputs)

    if hidden is None:
        return layer(features, classes)
    between: list[nn.Module] = [nn.LayerNorm(hidden)] if splines else [nn.SiLU()]
    return nn.Sequential(layer(features, hidden), *between, layer(hidden, classes))


def _check_mark(module: Any, state: dict[str, Any], prefix: str, *args: Any) -> None:
    """Refuses a checkpoint that was trained on the features of another encoder."""
    trained = state.get(f"{prefix}encoder_mark")
    if trained is not None and not torch.equal(trained.cpu(), module.encoder_mark.cpu()):
        raise InputError(
            "--model.judge.encoder: the checkpoint's head was trained on another encoder: give that one, or "
            "train again"
        )
