"""The loss of trustworthy long-tailed classification (TLC, Li et al. 2022), for several experts."""

import torch
import torch.nn.functional as F
from torch import Tensor

# the constants of TLC's code, in which a training has 200 epochs and cosines are multiplied by 30
_EPOCHS, _SCALE, _LARGEST_MARGIN = 200, 30.0, 0.5
_REWEIGHT_AFTER, _ANNEALING, _ENGAGED, _ETA = 0.8, 13_200.0, 0.54, 0.2


def tlc_loss(experts: Tensor, target: Tensor, class_counts: Tensor, progress: float) -> Tensor:
    """The loss of trustworthy long-tailed classification (Li et al. 2022), with the constants of its code.

    Each expert has a cross-entropy whose true class must win by a margin of `30 * 0.5 * (n_min / n) **
    (1/4)`, weighted by the inverse effective number of samples in the last fifth of the training; a penalty,
    which grows with the training, on evidence for wrong classes (KL divergence of their Dirichlet
    distribution to the flat one); and a reward for differing from the experts' mixture. An expert learns only
    from samples that the experts before it find doubtful.

    Args:
        experts: logits of each expert, 30 times a cosine, shape `(K, B, V)`, float32.
        target: class indices, shape `(B,)`.
        class_counts: training samples of each class, shape `(V,)`.
        progress: share of the training that is done when the epoch ends, in [0, 1].

    Returns:
        Shape `(B,)`, summed over experts, so that its mean is TLC's loss.

    >>> logits = 30 * torch.eye(2).unsqueeze(0)
    >>> tlc_loss(logits, torch.tensor([0, 1]), torch.tensor([10, 10]), progress=0.0).shape
    torch.Size([2])
    """
    counts = class_counts.to(experts)
    late = progress > _REWEIGHT_AFTER
    doubt = expert_doubt(experts).float()  # (K + 1, B)
    weights, softness = torch.ones_like(counts), torch.ones_like(counts)
    if late:
        weights = 1 / (1 - 0.9999**counts)
        weights = weights * len(counts) / weights.sum()
        softness = 0.05 * len(counts) * counts / counts.sum() + 0.95
        softness = softness / softness.max()
    shares = torch.softmax(doubt / _ETA, dim=1)  # over the batch, as TLC's code has it
    mixture = (experts * shares[:-1].unsqueeze(-1)).sum(0).detach()
    own = F.one_hot(target, len(counts))
    margins = _SCALE * _LARGEST_MARGIN * (counts.min() / counts) ** 0.25
    total = torch.zeros_like(doubt[0])
    for logits, before in zip(experts, doubt, strict=False):
        held_back = logits - own * margins
        loss = weights[target] * F.cross_entropy(held_back, target, reduction="none")
        loss = loss + progress * _EPOCHS / _ANNEALING * _wrong_evidence(held_back, own)
        own_view, mixed_view = (logits / softness).log_softmax(-1), (mixture / softness).softmax(-1)
        difference = F.kl_div(own_view, mixed_view, reduction="none").sum(-1)
        loss = loss - 0.01 * softness.mean() ** 2 * difference
        engaged = (before / before.max() > _ENGAGED).to(loss)
        total = total + loss * engaged * len(target) / engaged.sum()
    return total


@torch.no_grad()
def expert_doubt(experts: Tensor) -> Tensor:
    """Doubt that is left before each expert and after the last one: `(K + 1, B)`, from logits `(K, B, V)`.

    It starts at 1. Each expert multiplies it by its evidential uncertainty, classes over classes and
    evidence, divided by 1 minus its conflict with the expert before (Dempster's rule). In double precision:
    single precision makes that 0 where two experts are sure of different classes.

    >>> expert_doubt(torch.zeros(1, 1, 2)).tolist()  # evidence of 1 for each of two classes
    [[1.0], [0.5]]
    """
    classes = experts.shape[-1]
    evidence = experts.double().exp()
    strength = evidence.sum(-1, keepdim=True) + classes  # (K, B, 1)
    belief, uncertainty = evidence / strength, classes / strength.squeeze(-1)
    doubt = [torch.ones_like(uncertainty[0])]
    for k in range(len(experts)):
        conflict = torch.zeros_like(doubt[0])
        if k:
            conflict = belief[k - 1].sum(-1) * belief[k].sum(-1) - (belief[k - 1] * belief[k]).sum(-1)
        doubt.append(doubt[-1] * uncertainty[k] / (1 - conflict).clamp_min(1e-15))
    return torch.stack(doubt)


def _wrong_evidence(logits: Tensor, own: Tensor) -> Tensor:
    """KL divergence of the Dirichlet distribution of the wrong classes' evidence to the flat one, `(B,)`.

    In double precision: its terms are as large as the evidence, and nearly cancel.
    """
    strengths = torch.where(own.bool(), 1.0, logits.double().exp() + 1)  # (B, V)
    total = strengths.sum(-1)
    normalizer = total.lgamma() - torch.tensor(float(own.shape[-1])).lgamma() - strengths.lgamma().sum(-1)
    expected = strengths.digamma() - total.digamma().unsqueeze(-1)
    return (normalizer + ((strengths - 1) * expected).sum(-1)).float()
