"""The captioner: a CKAN that sees, a TKAN that writes, attention between them, and the plain twin."""

from collections.abc import Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kcm_lightning.kan import KANConv2d, KANLinear, KANRecurrent
from kcm_lightning.small.ckan import residual_stages
from kcm_lightning.utils.tokens import BEGIN, NEVER_SAID, PADDING


class _Reader(Protocol):
    """What the decoder needs of a recurrent layer."""

    def __call__(self, x: Tensor) -> Tensor:
        """States after each step."""

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        """The state after one more step."""


class CaptionNet(nn.Module):
    """Encoder to a grid of features, recurrent decoder, attention over the grid, output layer.

    The decoder's first input is the image's mean feature, the second the begin of a caption. Attention
    follows the recurrence (Luong et al. 2015), so that with teacher forcing all steps attend at once.

    Args:
        vocab_size: size of the captions' vocabulary.
        width: features of words, states and attention.
        encoder: layers from images to features, with the channels of their last one.
        reader: recurrent layer with `forward(x)` and `step(x, state)`, from `width` to `width`.
        output: maps `(..., 2 * width)` to `(..., vocab_size)`.
        dropout: share of the features that training drops, of words and of what the output layer reads.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int,
        encoder: tuple[list[nn.Module], int],
        reader: nn.Module,
        output: nn.Module,
        dropout: float,
    ):
        super().__init__()
        self.vocab_size, self.width = vocab_size, width
        layers, channels = encoder
        self.encoder = nn.Sequential(*layers)
        self.project = nn.Linear(channels, width)
        self.grid_norm = nn.LayerNorm(width)
        self.words = nn.Embedding(vocab_size, width, padding_idx=PADDING)
        self.word_norm = nn.LayerNorm(width)
        self.reader = cast(_Reader, reader)
        self.query = nn.Linear(width, width, bias=False)
        self.output_norm = nn.LayerNorm(2 * width)
        self.output = output
        self.dropout = nn.Dropout(dropout)

    def grid(self, images: Tensor) -> Tensor:
        """Features of places, shape `(B, places, width)`, of normalized images `(B, 3, H, W)`."""
        features = self.encoder(images).flatten(2).transpose(1, 2)  # (B, places, channels)
        return self.grid_norm(self.project(features))

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits of each next token under teacher forcing.

        Args:
            images: normalized, shape `(B, 3, H, W)`.
            tokens: captions with their end, padded, shape `(B, L)`.

        Returns:
            Shape `(B, L, vocab_size)`; position i is of token i, from the tokens before it.
        """
        grid = self.grid(images)
        before = F.pad(tokens[:, :-1], (1, 0), value=BEGIN)
        inputs = torch.cat(
            [grid.mean(1, keepdim=True), self.dropout(self.word_norm(self.words(before)))], dim=1
        )
        states = self.reader(inputs)[:, 1:]  # (B, L, width)
        return self._logits(states, grid)

    def _logits(self, states: Tensor, grid: Tensor) -> Tensor:
        places = grid.to(states.dtype)
        context = F.scaled_dot_product_attention(self.query(states), places, places)
        return self.output(self.dropout(self.output_norm(torch.cat([states, context], dim=-1))))

    def start(self, grid: Tensor) -> Tensor:
        """The decoder's state after it has seen the image, shape `(B, width)`."""
        return self.reader.step(grid.mean(1), torch.zeros(len(grid), self.width, device=grid.device))

    def advance(self, words: Tensor, state: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Reads one more word.

        Args:
            words: token numbers, shape `(B,)`.
            state: shape `(B, width)`.
            grid: shape `(B, places, width)`.

        Returns:
            Log-probabilities of the next token, shape `(B, vocab_size)`, float32, and the new state. Padding,
            begin and unknown are never said.
        """
        state = self.reader.step(self.word_norm(self.words(words)), state)
        logits = self._logits(state.unsqueeze(1), grid).squeeze(1).float()
        logits[:, NEVER_SAID] = float("-inf")
        return logits.log_softmax(-1), state


class Captioner(CaptionNet):
    """CKAN encoder, TKAN decoder, KAN output layer.

    Args:
        vocab_size: size of the captions' vocabulary, as `--data.vocab_size`.
        width: features of words, states and attention.
        channels: channels of the encoder's first stage; each further one doubles them.
        depths: blocks of each stage of the encoder; each stage but the first halves height and width.
        patch: height and width in pixels of what the encoder's first layer reads at once.
        bottleneck: how many times fewer channels the encoder's spline layers read than they write.
        grid: grid intervals of all splines.
        order: degree of all splines: 1 is piecewise linear, 3, the default, cubic.
        dropout: share of the features that training drops, of words and of what the output layer reads.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int = 256,
        channels: int = 64,
        depths: Sequence[int] = (1, 2, 2),
        patch: int = 4,
        bottleneck: int = 4,
        grid: int = 5,
        order: int = 3,
        dropout: float = 0.3,
    ):
        def expand(inputs: int, outputs: int) -> nn.Module:
            return KANConv2d(inputs, outputs, 1, grid=grid, order=order)

        reader = KANRecurrent(width, width, bidirectional=False, grid=grid, order=order)
        output = nn.Sequential(
            KANLinear(2 * width, width, grid=grid, order=order), nn.Linear(width, vocab_size)
        )
        encoder = residual_stages(_patches(channels, patch), channels, depths, bottleneck, expand)
        super().__init__(vocab_size, width, encoder, reader, output, dropout)


class PlainCaptioner(CaptionNet):
    """The twin of `Captioner`: convolutions, a GRU and an MLP where that has splines.

    Args:
        vocab_size: size of the captions' vocabulary, as `--data.vocab_size`.
        width: features of words, states and attention.
        channels: channels of the encoder's first stage; each further one doubles them.
        depths: blocks of each stage of the encoder; each stage but the first halves height and width.
        patch: height and width in pixels of what the encoder's first layer reads at once.
        bottleneck: how many times fewer channels the middle of a block has than its end.
        dropout: share of the features that training drops, of words and of what the output layer reads.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int = 256,
        channels: int = 64,
        depths: Sequence[int] = (1, 2, 2),
        patch: int = 4,
        bottleneck: int = 4,
        dropout: float = 0.3,
    ):
        def expand(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(nn.SiLU(), nn.Conv2d(inputs, outputs, 1, bias=False))

        output = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, vocab_size))
        encoder = residual_stages(_patches(channels, patch), channels, depths, bottleneck, expand)
        super().__init__(vocab_size, width, encoder, _GRU(width), output, dropout)


class _GRU(nn.Module):
    """`nn.GRU` with single steps."""

    def __init__(self, width: int):
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]

    def step(self, x: Tensor, state: Tensor) -> Tensor:
        return self.gru(x.unsqueeze(1), state.unsqueeze(0))[1].squeeze(0)


def _patches(channels: int, patch: int) -> nn.Conv2d:
    size = max(3, patch)
    return nn.Conv2d(3, channels, size, stride=patch, padding=1 if patch == 1 else 0, bias=False)
