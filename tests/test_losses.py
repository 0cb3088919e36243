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


def test_tlc_against_a_loop_over_experts_and_samples():
    """TLC's loss (Li et al. 2022) as its parts are defined, a sample at a time."""
    torch.manual_seed(0)
    experts = 6 * torch.randn(3, 20, 5)
    target, counts = torch.randint(0, 5, (20,)), torch.tensor([500.0, 100, 60, 20, 7])
    for progress in (0.0, 0.5, 0.95):
        late = progress > 0.8
        doubt = [[1.0] * 20]
        for k in range(3):
            row = []
            for i in range(20):
                evidence = experts[k, i].exp()
                strength = evidence.sum() + 5
                conflict = 0.0
                if k:
                    before = experts[k - 1, i].exp()
                    before = before / (before.sum() + 5)
                    own = evidence / strength
                    conflict = sum(before[a] * own[b] for a in range(5) for b in range(5) if a != b)
                row.append(float(doubt[-1][i] * (5 / strength) / (1 - conflict)))
            doubt.append(row)
        weights, softness = torch.ones(5), torch.ones(5)
        if late:
            weights = torch.tensor([(1 - 0.9999) / (1 - 0.9999**n) for n in counts.tolist()])
            weights = 5 * weights / weights.sum()
            softness = torch.tensor([5 * n / counts.sum() * 0.05 + 0.95 for n in counts])
            softness = softness / softness.max()
        mixed = torch.zeros(20, 5)
        for k in range(3):
            shares = [float(torch.tensor(w / 0.2).exp()) for w in doubt[k]]
            mixed += torch.stack([experts[k, i] * shares[i] / sum(shares) for i in range(20)])
        expected = 0.0
        for k in range(3):
            losses, engaged = [], []
            for i in range(20):
                logits = experts[k, i].clone()
                logits[target[i]] -= 30 * 0.5 * (7 / counts[target[i]]) ** 0.25
                loss = -weights[target[i]] * logits.log_softmax(-1)[target[i]]
                a = logits.exp() + 1
                a[target[i]] = 1.0
                flat = torch.lgamma(a.sum()) - torch.lgamma(torch.tensor(5.0)) - torch.lgamma(a).sum()
                flat += sum((a[c] - 1) * (torch.digamma(a[c]) - torch.digamma(a.sum())) for c in range(5))
                loss = loss + progress * 200 / ((160 + 500) / 0.05) * flat
                p, q = (mixed[i] / softness).softmax(-1), (experts[k, i] / softness).softmax(-1)
                loss = loss - 0.01 * softness.mean() ** 2 * (p * (p / q).log()).sum()
                losses.append(loss)
                engaged.append(doubt[k][i] / max(doubt[k]) > 0.54)
            expected += sum(loss for loss, use in zip(losses, engaged, strict=True) if use) / sum(engaged)
        found = judge_loss(experts, target, counts, "tlc", progress)
        assert found.shape == (20,)
        torch.testing.assert_close(found.mean(), expected, rtol=1e-4, atol=1e-4)
