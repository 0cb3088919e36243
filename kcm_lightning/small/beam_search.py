"""Beam search of the captioners, for all images of a batch at once."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kcm_lightning.small.captioner import CaptionNet
from kcm_lightning.utils.tokens import BEGIN, END, PADDING


@dataclass
class Captions:
    """Generated captions.

    Args:
        tokens: token numbers, each caption with its end, then padding, shape `(B, L)`.
        log_probabilities: log-probability of each token under the model, 0 at padding, shape `(B, L)`.
    """

    tokens: Tensor
    log_probabilities: Tensor


@torch.no_grad()
def generate(model: CaptionNet, images: Tensor, *, max_length: int, beams: int = 1) -> Captions:
    """Captions by beam search, for all images at once; one beam is greedy decoding.

    A caption's score is its log-probability; finished captions stay in the beam and compete with longer ones.

    Args:
        model: the captioner, in eval mode.
        images: normalized, shape `(B, 3, H, W)`.
        max_length: tokens of a caption, its end counted; where it does not end by itself, it ends there.
        beams: captions of an image that are followed at once.

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
    tokens = torch.zeros(count, beams, max_length, dtype=torch.long, device=device)
    steps = torch.zeros(count, beams, max_length, device=device)
    done = torch.zeros(count, beams, dtype=torch.bool, device=device)
    first = torch.arange(count, device=device).unsqueeze(1) * beams
    for place in range(max_length):
        said, state = model.advance(words, state, grid)
        said = said.unflatten(0, (count, beams))  # (B, K, V)
        if place == max_length - 1:
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
    pick = best.view(-1, 1, 1).expand(-1, 1, max_length)
    return Captions(tokens.gather(1, pick).squeeze(1), steps.gather(1, pick).squeeze(1))
