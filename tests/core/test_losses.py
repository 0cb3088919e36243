"""The judge's losses against their definitions."""

import pytest
import torch
import torch.nn.functional as F
from mpmath import mp

from kcm_lightning.core.losses import judge_loss
from kcm_lightning.core.tlc_loss import _wrong_evidence, expert_doubt
from kcm_lightning.module.optimizers import Phase


def test_against_definitions():
    torch.manual_seed(0)
    logits, target = torch.randn(50, 4), torch.randint(0, 4, (50,))
    counts = torch.tensor([400, 60, 30, 10])
    log_p = logits.log_softmax(-1)
    plain = torch.stack([-log_p[i, t] for i, t in enumerate(target)])
    torch.testing.assert_close(judge_loss(logits, target, class_counts=counts, kind="plain"), plain)
    weights = 500 / (4 * counts.float())
    torch.testing.assert_close(
        judge_loss(logits, target, class_counts=counts, kind="balanced"), plain * weights[target]
    )
    assert torch.isclose((weights * counts).sum() / 500, torch.tensor(1.0))
    # Menon et al. 2021, equation 10, with the margin form written out
    adjusted = torch.stack(
        [
            torch.log1p(
                sum(
                    (counts[k] / counts[t]) * torch.exp(logits[i, k] - logits[i, t])
                    for k in range(4)
                    if k != t
                )
            )
            for i, t in enumerate(target.tolist())
        ]
    )
    torch.testing.assert_close(judge_loss(logits, target, class_counts=counts), adjusted)


def test_tlc_against_a_loop_over_experts_and_samples():
    """TLC's loss (Li et al. 2022) as its parts are defined, a sample at a time."""
    torch.manual_seed(0)
    experts = 6 * torch.randn(3, 20, 5, dtype=torch.double)
    target, counts = torch.randint(0, 5, (20,)), torch.tensor([500.0, 100, 60, 20, 7], dtype=torch.double)
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
        weights, softness = torch.ones(5).double(), torch.ones(5).double()
        if late:
            weights = torch.tensor([(1 - 0.9999) / (1 - 0.9999**n) for n in counts.tolist()]).double()
            weights = 5 * weights / weights.sum()
            softness = torch.tensor([5 * n / counts.sum() * 0.05 + 0.95 for n in counts]).double()
            softness = softness / softness.max()
        mixed = torch.zeros(20, 5).double()
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
                flat = (
                    torch.lgamma(a.sum()) - torch.lgamma(torch.tensor(5.0).double()) - torch.lgamma(a).sum()
                )
                flat += sum((a[c] - 1) * (torch.digamma(a[c]) - torch.digamma(a.sum())) for c in range(5))
                loss = loss + progress * 200 / ((160 + 500) / 0.05) * flat
                p, q = (mixed[i] / softness).softmax(-1), (experts[k, i] / softness).softmax(-1)
                loss = loss - 0.01 * softness.mean() ** 2 * (p * (p / q).log()).sum()
                losses.append(loss)
                engaged.append(doubt[k][i] / max(doubt[k]) > 0.54)
            expected += sum(loss for loss, use in zip(losses, engaged, strict=True) if use) / sum(engaged)
        found = judge_loss(experts, target, class_counts=counts, kind="tlc", progress=progress)
        assert found.shape == (20,)
        torch.testing.assert_close(found.mean().double(), expected, rtol=1e-4, atol=1e-4)


def test_tlc_stays_finite_where_experts_are_sure_of_different_classes_or_of_wrong_ones():
    counts, target = torch.tensor([500, 100, 7]), torch.tensor([0, 1, 2, 0])
    experts = torch.full((3, 4, 3), -30.0)
    for k in range(3):
        experts[k, :, k] = 30.0  # each expert its own class
    experts.requires_grad_()
    loss = judge_loss(experts, target, class_counts=counts, kind="tlc", progress=1.0)
    loss.mean().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(experts.grad).all()
    doubt = expert_doubt(experts)
    assert (doubt[0] == 1).all() and (doubt > 0).all() and torch.isfinite(doubt.float()).all()


def test_the_penalty_on_wrong_evidence_is_exact_where_it_is_large():
    """Against the same formula in exact arithmetic (mpmath), at evidence of e**20."""
    logits = torch.tensor([[20.0, -1.0, 0.0, 2.0, 1.0]])
    own = F.one_hot(torch.tensor([1]), 5)
    strengths = [mp.e**20 + 1, mp.mpf(1), mp.mpf(2), mp.e**2 + 1, mp.e + 1]
    total = sum(strengths)
    expected = mp.loggamma(total) - mp.loggamma(5) - sum(map(mp.loggamma, strengths))
    expected += sum((a - 1) * (mp.digamma(a) - mp.digamma(total)) for a in strengths)
    assert _wrong_evidence(logits, own).item() == pytest.approx(float(expected), rel=1e-4)


def test_tlc_reweights_in_its_last_forty_epochs_of_two_hundred():
    """TLC counts epochs from 1 and reweights from 161 on."""
    torch.manual_seed(0)
    experts, target, counts = torch.randn(2, 8, 3), torch.randint(0, 3, (8,)), torch.tensor([500, 50, 5])
    phase = Phase(200)
    losses = [
        judge_loss(
            experts, target, class_counts=counts, kind="tlc", progress=phase.progress(epoch + 1)
        ).mean()
        for epoch in range(200)
    ]
    jumps = [epoch for epoch in range(1, 200) if abs(losses[epoch] - losses[epoch - 1]) > 0.01]
    assert jumps == [160]
