"""The judge's losses against their definitions."""

import torch

from kcm_lightning.losses import judge_loss


def test_against_definitions():
    torch.manual_seed(0)
    logits, target = torch.randn(50, 4), torch.randint(0, 4, (50,))
    counts = torch.tensor([400, 60, 30, 10])
    log_p = logits.log_softmax(-1)
    plain = torch.stack([-log_p[i, t] for i, t in enumerate(target)])
    torch.testing.assert_close(judge_loss(logits, target, counts, "plain"), plain)
    weights = 500 / (4 * counts.float())
    torch.testing.assert_close(judge_loss(logits, target, counts, "balanced"), plain * weights[target])
    assert torch.isclose((weights * counts).sum() / 500, torch.tensor(1.0))
    # Menon et al. 2021, equation 10, with the margin form written out
    adjusted = torch.stack(
        [
            torch.log1p(sum((counts[k] / counts[t]) * torch.exp(logits[i, k] - logits[i, t]) for k in range(4) if k != t))
            for i, t in enumerate(target.tolist())
        ]
    )
    torch.testing.assert_close(judge_loss(logits, target, counts), adjusted)
