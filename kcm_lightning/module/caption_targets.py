"""What a student of captions is taught, kept small enough for all images at once."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from kcm_lightning.core.partition import Part
from kcm_lightning.large.captioner import TOP_K
from kcm_lightning.utils.tokens import PADDING, UNKNOWN


@dataclass
class CaptionTargets:
    """Captions to learn, and of the distribution over the vocabulary at each position the top K.

    Args:
        parts: who teaches, `Part` codes, shape `(N,)`.
        tokens: the captions, padded, shape `(N, L)`.
        topk_tokens: the K most probable tokens of each position, shape `(N, L, K)`.
        topk_probs: their probabilities, which sum to 1, shape `(N, L, K)`.
    """

    parts: Tensor
    tokens: Tensor
    topk_tokens: Tensor
    topk_probs: Tensor

    @classmethod
    def of(cls, tokens: Tensor, distribution: Tensor) -> "CaptionTargets":
        """Targets of one teacher; `distribution` has shape `(N, L, V)`."""
        top = distribution.topk(min(TOP_K, distribution.shape[-1]))
        sums = top.values.sum(-1, keepdim=True)
        probs = top.values / sums.clamp_min(torch.finfo(torch.float32).tiny)
        likely, nothing = top.indices, sums[..., 0] == 0
        # where all that is probable lies outside the vocabulary
        likely[..., 0] = likely[..., 0].masked_fill(nothing, UNKNOWN)
        probs[..., 0] = probs[..., 0].masked_fill(nothing, 1.0)
        parts = torch.full((len(tokens),), int(Part.JUDGE), device=tokens.device)
        return cls(parts=parts, tokens=tokens, topk_tokens=likely, topk_probs=probs)

    def replaced(self, large: "CaptionTargets", parts: Tensor) -> "CaptionTargets":
        """These, with the large model's where it teaches, and nothing where nobody does; on the CPU."""
        tokens = torch.full_like(self.tokens, PADDING)
        likely, probs = torch.zeros_like(self.topk_tokens), torch.zeros_like(self.topk_probs)
        for source, part in ((self, Part.JUDGE), (large, Part.TEACHER)):
            rows, length = parts == part, source.tokens.shape[1]
            tokens[rows, :length] = source.tokens[rows]
            likely[rows, :length], probs[rows, :length] = source.topk_tokens[rows], source.topk_probs[rows]
        return CaptionTargets(
            parts=parts.cpu(), tokens=tokens.cpu(), topk_tokens=likely.int().cpu(), topk_probs=probs.cpu()
        )

    @staticmethod
    def joined(targets: list["CaptionTargets"]) -> "CaptionTargets":
        """Those of all batches."""
        names = [field.name for field in fields(CaptionTargets)]
        return CaptionTargets(**{name: torch.cat([getattr(own, name) for own in targets]) for name in names})

    def at(self, rows: Tensor, vocab_size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Parts `(B,)`, tokens `(B, L)` and distributions `(B, L, V)` of some rows."""
        columns = self.parts, self.tokens, self.topk_tokens, self.topk_probs
        parts, tokens, likely, probs = (column[rows].to(device) for column in columns)
        target = torch.zeros(*tokens.shape, vocab_size, device=device).scatter_(-1, likely.long(), probs)
        return parts, tokens, target
