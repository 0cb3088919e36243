"""The captioner: a CKAN that sees, a TKAN that writes, attention between them, and the plain twin."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kcm_lightning.kan import KANConv2d, KANLinear, KANRecurrent
from kcm_lightning.small.ckan import residual_stages
from kcm_lightning.words import BEGIN, END, PADDING, UNKNOWN

NEVER_SAID = [PADDING, BEGIN, UNKNOWN]


@dataclass
class Captions:
    """Generated captions.

    Args:
        tokens: numbers, each caption with its end, then padding, shape `(B, L)`.
        log_probabilities: of each token under the model, 0 at padding, shape `(B, L)`.
    """

    tokens: Tensor
    log_probabilities: Tensor


class CaptionNet(nn.Module):
    """Encoder to a grid of features, recurrent decoder, attention of the decoder's states over the grid, output layer.

    The decoder's first input is the picture's mean feature, the second the begin of a caption. Attention follows the
    recurrence (Luong et al. 2015), so that with teacher forcing all steps attend at once.

    Args:
        vocab_size: of the captions' vocabulary.
        width: of words, states and attention.
        encoder: layers from pictures to features, with the channels of their last one.
        reader: recurrent layer with `forward(x)` and `step(x, state)`, from `width` to `width`.
        output: maps `(..., 2 * width)` to `(..., vocab_size)`.
        dropout: of words and of what the output layer reads.
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
        self.reader = reader
        self.query = nn.Linear(width, width, bias=False)
        self.output_norm = nn.LayerNorm(2 * width)
        self.output = output
        self.dropout = nn.Dropout(dropout)

    def grid(self, images: Tensor) -> Tensor:
        """Features of places, shape `(B, places, width)`, of normalised images `(B, 3, H, W)`."""
        features = self.encoder(images).flatten(2).transpose(1, 2)  # (B, places, channels)
        return self.grid_norm(self.project(features))

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits of each next token under teacher forcing.

        Args:
            images: normalised, shape `(B, 3, H, W)`.
            tokens: captions with their end, padded, shape `(B, L)`.

        Returns:
            Shape `(B, L, vocab_size)`; position i is of token i, from the tokens before it.
        """
        grid = self.grid(images)
        before = F.pad(tokens[:, :-1], (1, 0), value=BEGIN)
        inputs = torch.cat([grid.mean(1, keepdim=True), self.dropout(self.word_norm(self.words(before)))], dim=1)
        states = self.reader(inputs)[:, 1:]  # (B, L, width)
        return self._logits(states, grid)

    def _logits(self, states: Tensor, grid: Tensor) -> Tensor:
        context = F.scaled_dot_product_attention(self.query(states), grid.to(states.dtype), grid.to(states.dtype))
        return self.output(self.dropout(self.output_norm(torch.cat([states, context], dim=-1))))

    def start(self, grid: Tensor) -> Tensor:
        """The decoder's state after it has seen the picture, shape `(B, width)`."""
        return self.reader.step(grid.mean(1), torch.zeros(len(grid), self.width, device=grid.device))

    def advance(self, words: Tensor, state: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Reads one more word.

        Args:
            words: token numbers, shape `(B,)`.
            state: shape `(B, width)`.
            grid: shape `(B, places, width)`.

        Returns:
            Log-probabilities of the next token, shape `(B, vocab_size)`, float32, and the new state. Padding, begin and
            unknown are never said.
        """
        state = self.reader.step(self.word_norm(self.words(words)), state)
        logits = self._logits(state.unsqueeze(1), grid).squeeze(1).float()
        logits[:, NEVER_SAID] = float("-inf")
        return logits.log_softmax(-1), state


class Captioner(CaptionNet):
    """CKAN encoder, TKAN decoder, KAN output layer.

    Args:
        vocab_size: of the captions' vocabulary.
        width: of words, states and attention.
        channels: of the encoder's first stage.
        depths: blocks of each stage of the encoder; each but the first halves height and width.
        patch: height and width of the pixels that the encoder's first layer reads at once.
        bottleneck, grid, order: of the encoder's blocks; grid and order of all splines.
        dropout: of words and of what the output layer reads.
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
        output = nn.Sequential(KANLinear(2 * width, width, grid=grid, order=order), nn.Linear(width, vocab_size))
        encoder = residual_stages(_patches(channels, patch), channels, depths, bottleneck, expand)
        super().__init__(vocab_size, width, encoder, reader, output, dropout)


class PlainCaptioner(CaptionNet):
    """The twin of `Captioner`: convolutions, a GRU and an MLP where that has splines.

    Args:
        vocab_size, width, channels, depths, patch, bottleneck, dropout: as of `Captioner`.
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


@torch.no_grad()
def generate(model: CaptionNet, images: Tensor, longest: int, beams: int = 1) -> Captions:
    """Captions by beam search, for all images at once; one beam is greedy decoding.

    A caption's score is its log-probability; finished captions stay in the beam and compete with longer ones.

    Args:
        model: in eval mode.
        images: normalised, shape `(B, 3, H, W)`.
        longest: tokens of a caption, its end counted; where it does not end by itself, it ends there.
        beams: how many captions of an image are followed.

    Returns:
        The best caption of each image.
    """
    grid = model.grid(images)
    count, device = len(images), images.device
    state = model.start(grid).repeat_interleave(beams, dim=0)  # (B * K, width)
    grid = grid.repeat_interleave(beams, dim=0)
    words = torch.full((count * beams,), BEGIN, device=device)
    scores = torch.full((count, beams), float("-inf"), device=device)
    scores[:, 0] = 0.0  # all beams of an image start alike: only one of them counts
    tokens = torch.zeros(count, beams, longest, dtype=torch.long, device=device)
    steps = torch.zeros(count, beams, longest, device=device)
    done = torch.zeros(count, beams, dtype=torch.bool, device=device)
    first = torch.arange(count, device=device).unsqueeze(1) * beams
    for place in range(longest):
        said, state = model.advance(words, state, grid)
        said = said.unflatten(0, (count, beams))  # (B, K, V)
        if place == longest - 1:
            last = said[..., END].clone()
            said = torch.full_like(said, float("-inf"))
            said[..., END] = last
        said = said.masked_fill(done.unsqueeze(-1), float("-inf"))
        said[..., PADDING] = torch.where(done, 0.0, said[..., PADDING])  # what has ended goes on as it is
        total = (scores.unsqueeze(-1) + said).flatten(1)  # (B, K * V)
        scores, chosen = total.topk(beams, dim=1)
        parent, word = chosen // said.shape[-1], chosen % said.shape[-1]
        step = said.flatten(1).gather(1, chosen)
        tokens, steps = (rows.gather(1, parent.unsqueeze(-1).expand_as(rows)) for rows in (tokens, steps))
        tokens[..., place], steps[..., place] = word, step.nan_to_num(neginf=0.0)
        done = done.gather(1, parent) | (word == END)
        rows = (first + parent).flatten()
        state, words = state[rows], word.flatten()
        if done.all():
            break
    best = scores.argmax(1)
    pick = best.view(-1, 1, 1).expand(-1, 1, longest)
    return Captions(tokens.gather(1, pick).squeeze(1), steps.gather(1, pick).squeeze(1))
