"""What a student of captions is taught, kept small enough for all pictures at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kcm_lightning.gating import Part
from kcm_lightning.large.captioner import CHOICES
from kcm_lightning.words import PADDING, UNKNOWN


@dataclass
class Lessons:
    """Captions to learn, and the distribution over the vocabulary at each place, of which the most probable are kept.

    Args:
        parts: who teaches, `Part` codes, shape `(N,)`.
        tokens: padded, shape `(N, L)`.
        likely: the K most probable tokens of each place, shape `(N, L, K)`.
        shares: their probabilities, which sum to 1, shape `(N, L, K)`.
    """

    parts: Tensor
    tokens: Tensor
    likely: Tensor
    shares: Tensor

    @classmethod
    def of(cls, tokens: Tensor, distribution: Tensor) -> "Lessons":
        """Lessons of one teacher; `distribution` has shape `(N, L, V)`."""
        top = distribution.topk(min(CHOICES, distribution.shape[-1]))
        sums = top.values.sum(-1, keepdim=True)
        shares = top.values / sums.clamp_min(torch.finfo(torch.float32).tiny)
        likely, nothing = top.indices, sums[..., 0] == 0
        likely[..., 0] = likely[..., 0].masked_fill(nothing, UNKNOWN)  # all that is probable lies outside the vocabulary
        shares[..., 0] = shares[..., 0].masked_fill(nothing, 1.0)
        return cls(torch.full((len(tokens),), int(Part.JUDGE), device=tokens.device), tokens, likely, shares)

    def replaced(self, large: "Lessons", parts: Tensor) -> "Lessons":
        """These, with the large model's where that teaches, and nothing where nobody does, on the CPU."""
        theirs = parts == Part.TEACHER
        tokens = torch.full_like(self.tokens, PADDING)
        likely, shares = torch.zeros_like(self.likely), torch.zeros_like(self.shares)
        for source, rows in ((self, parts == Part.JUDGE), (large, theirs)):
            length = source.tokens.shape[1]
            tokens[rows, :length] = source.tokens[rows]
            likely[rows, :length], shares[rows, :length] = source.likely[rows], source.shares[rows]
        return Lessons(parts.cpu(), tokens.cpu(), likely.int().cpu(), shares.cpu())

    @staticmethod
    def joined(lessons: list["Lessons"]) -> "Lessons":
        """Those of all batches."""
        return Lessons(*(torch.cat([getattr(own, name) for own in lessons]) for name in Lessons.__dataclass_fields__))

    def at(self, rows: Tensor, vocabulary: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Parts `(B,)`, tokens `(B, L)` and distributions `(B, L, V)` of some rows."""
        parts, tokens, likely, shares = (x[rows].to(device) for x in (self.parts, self.tokens, self.likely, self.shares))
        target = torch.zeros(*tokens.shape, vocabulary, device=device).scatter_(-1, likely.long(), shares)
        return parts, tokens, target
