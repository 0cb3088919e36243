"""TKAN, a recurrent KAN for text, and the plain recurrent network that is its twin."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from kcm_lightning.kan import KANLinear, KANRecurrent
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.hugging_face import from_pretrained
from kcm_lightning.utils.tokens import PADDING

SIZES = {"s": (64, 64), "m": (128, 128), "l": (256, 256)}  # features of a token and of a state


class TextNet(nn.Module):
    """Embeddings, a recurrent reader, mean and maximum of its states over time, a head.

    Args:
        num_classes: classes to tell apart.
        vocab_size: size of the tokenizer's vocabulary.
        embedding: features of a token.
        reader: maps `(B, T, embedding)` and a mask `(B, T)` to states `(B, T, features)`.
        head: maps `(B, 2 * features)` to `(B, num_classes)`.
        features: features of the reader's states.
        dropout: share of the token features and of the pooled features that training drops.
        embeddings_from: hub name or folder of a Hugging Face model with this vocabulary, whose input
            embeddings, reduced to `embedding` principal components, are what a fresh training starts from.
    """

    only_for_training = ("embeddings_from",)  # a trained model is the same without it

    def __init__(
        self,
        num_classes: int,
        vocab_size: int,
        embedding: int,
        reader: nn.Module,
        head: nn.Module,
        features: int,
        dropout: float,
        embeddings_from: str | None,
    ):
        super().__init__()
        self.num_classes, self.vocab_size, self.embeddings_from = num_classes, vocab_size, embeddings_from
        self.embed = nn.Embedding(vocab_size, embedding, padding_idx=PADDING)
        self.norm = nn.LayerNorm(embedding)
        self.reader = reader
        self.pooled_norm = nn.LayerNorm(2 * features)
        self.dropout = nn.Dropout(dropout)
        self.head = head

    def initialize(self) -> None:
        """Fills in what a fresh training takes from another model's files."""
        if self.embeddings_from is None:
            return
        from transformers import AutoModel

        model = from_pretrained(AutoModel, self.embeddings_from, "--model.judge.embeddings_from")
        table = model.get_input_embeddings().weight.detach().float()
        if len(table) < self.vocab_size or table.shape[1] < self.embed.embedding_dim:
            raise InputError(
                f"--model.judge.embeddings_from: it embeds {len(table)} tokens in {table.shape[1]} features, "
                f"too few for {self.vocab_size} in {self.embed.embedding_dim}"
            )
        table = table[: self.vocab_size]  # some models have rows to spare
        centered = table - table.mean(0)
        _, vectors = torch.linalg.eigh(centered.T @ centered)  # eigenvalues rise
        reduced = centered @ vectors[:, -self.embed.embedding_dim :]
        with torch.no_grad():
            self.embed.weight.copy_(reduced / reduced.std())
            self.embed.weight[PADDING] = 0

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits, shape `(B, num_classes)`, of token numbers, shape `(B, T)`, padded with 0."""
        mask = tokens != PADDING
        states = self.reader(self.dropout(self.norm(self.embed(tokens))), mask)  # (B, T, F)
        counts = mask.unsqueeze(-1)
        mean = (states * counts).sum(1) / counts.sum(1).clamp_min(1)
        most = states.masked_fill(~counts, -1.0).amax(1)  # states lie within (-1, 1)
        return self.head(self.dropout(self.pooled_norm(torch.cat([mean, most], dim=-1))))


class TKAN(TextNet):
    """Recurrent KAN: gates, candidate and head are KAN transforms.

    Args:
        num_classes: classes to tell apart.
        vocab_size: size of the tokenizer's vocabulary; 30,522, the default, is that of BERT's uncased
            WordPiece.
        embedding: features of a token.
        width: features of the state of one direction; two directions are read.
        grid: grid intervals of a spline.
        order: degree of a spline: 1 is piecewise linear, 3, the default, cubic.
        dropout: share of the token features and of the pooled features that training drops.
        embeddings_from: hub name or folder of a Hugging Face model with this vocabulary, whose input
            embeddings, reduced to `embedding` principal components, a fresh training starts from; null, the
            default, starts at random.
        size: "s", "m" (128 and 128) or "l", in place of embedding and width; null, the default, takes these.
    """

    def __init__(
        self,
        num_classes: int = 2,
        vocab_size: int = 30_522,
        embedding: int = 128,
        width: int = 128,
        grid: int = 5,
        order: int = 3,
        dropout: float = 0.3,
        embeddings_from: str | None = None,
        size: Literal["s", "m", "l"] | None = None,
    ):
        embedding, width = (embedding, width) if size is None else SIZES[size]
        reader = KANRecurrent(embedding, width, grid=grid, order=order)
        head = KANLinear(4 * width, num_classes, grid=grid, order=order)
        super().__init__(
            num_classes=num_classes,
            vocab_size=vocab_size,
            embedding=embedding,
            reader=reader,
            head=head,
            features=2 * width,
            dropout=dropout,
            embeddings_from=embeddings_from,
        )


class GRU(TextNet):
    """The twin of TKAN: the same skeleton with `nn.GRU` and an MLP head.

    Args:
        num_classes: classes to tell apart.
        vocab_size: size of the tokenizer's vocabulary; 30,522, the default, is that of BERT's uncased
            WordPiece.
        embedding: features of a token.
        width: features of the state of one direction; two directions are read.
        dropout: share of the token features and of the pooled features that training drops.
        embeddings_from: hub name or folder of a Hugging Face model with this vocabulary, whose input
            embeddings, reduced to `embedding` principal components, a fresh training starts from; null, the
            default, starts at random.
        size: "s", "m" (128 and 128) or "l", in place of embedding and width; null, the default, takes these.
    """

    def __init__(
        self,
        num_classes: int = 2,
        vocab_size: int = 30_522,
        embedding: int = 128,
        width: int = 128,
        dropout: float = 0.3,
        embeddings_from: str | None = None,
        size: Literal["s", "m", "l"] | None = None,
    ):
        embedding, width = (embedding, width) if size is None else SIZES[size]
        head = nn.Sequential(nn.Linear(4 * width, width), nn.SiLU(), nn.Linear(width, num_classes))
        super().__init__(
            num_classes=num_classes,
            vocab_size=vocab_size,
            embedding=embedding,
            reader=_Packed(embedding, width),
            head=head,
            features=2 * width,
            dropout=dropout,
            embeddings_from=embeddings_from,
        )


class _Packed(nn.Module):
    """`nn.GRU` in two directions that reads no padding."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.gru = nn.GRU(inputs, width, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(1).clamp_min(1).cpu()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=x.shape[1])[0]
