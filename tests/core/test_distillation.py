"""Divergences against torch's own and against sums written out."""

import math

import pytest
import torch

from kcm_lightning.core.distillation import divergence, gated_distillation
from kcm_lightning.core.partition import Part


def naive(student, target, direction, temperature):
    s = [v / temperature for v in student]
    t = [math.log(v) / temperature for v in target]
    p_s = [math.exp(v) / sum(map(math.exp, s)) for v in s]
    p_t = [math.exp(v) / sum(map(math.exp, t)) for v in t]
    if direction == "hard":
        return -math.log(p_s[target.index(max(target))]) * temperature**2
    a, b = (p_t, p_s) if direction == "forward" else (p_s, p_t)
    return sum(x * (math.log(x) - math.log(y)) for x, y in zip(a, b, strict=True)) * temperature**2


@pytest.mark.parametrize("direction", ["forward", "reverse", "hard"])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_divergence_is_the_sum_written_out(direction, temperature):
    torch.manual_seed(0)
    logits, target = torch.randn(3, 4, 5), torch.randn(3, 4, 5).softmax(-1)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    ours = divergence(logits, target, mask=mask, direction=direction, temperature=temperature)
    for sample in range(3):
        values = [
            naive(logits[sample, i].tolist(), target[sample, i].tolist(), direction, temperature)
            for i in range(4)
            if mask[sample, i]
        ]
        assert ours[sample].item() == pytest.approx(sum(values) / max(1, len(values)), abs=1e-4)


def test_forward_divergence_is_torch_batchmean_and_zero_at_equality():
    logits, target = torch.randn(6, 1, 9), torch.randn(6, 1, 9)
    theirs = torch.nn.functional.kl_div(
        logits[:, 0].log_softmax(-1), target[:, 0].softmax(-1), reduction="batchmean"
    )
    torch.testing.assert_close(divergence(logits, target.softmax(-1)).mean(), theirs)
    assert divergence(logits, logits.softmax(-1)).abs().max() < 1e-6


def test_target_with_zeros_is_finite():
    logits = torch.randn(2, 1, 3, requires_grad=True)
    target = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]])
    for direction in ("forward", "reverse", "hard"):
        loss = divergence(logits, target, direction=direction).sum()
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss) and torch.isfinite(gradient).all()


def test_gate_decides_who_teaches_and_empty_parts_give_zero():
    torch.manual_seed(0)
    logits = torch.randn(4, 1, 5, requires_grad=True)
    judge, teacher = torch.randn(4, 1, 5).softmax(-1), torch.randn(4, 1, 5).softmax(-1)
    parts = torch.tensor([Part.JUDGE, Part.TEACHER, Part.NONE, Part.TEACHER])
    from_teacher, from_judge = gated_distillation(logits, judge=judge, teacher=teacher, parts=parts)
    expected_teacher, expected_judge = divergence(logits, teacher), divergence(logits, judge)
    torch.testing.assert_close(from_teacher, expected_teacher * torch.tensor([0.0, 1, 0, 1]))
    torch.testing.assert_close(from_judge, expected_judge * torch.tensor([1.0, 0, 0, 0]))
    (gradient,) = torch.autograd.grad((from_teacher + from_judge).sum(), logits)
    assert gradient[2].abs().max() == 0 and gradient[[0, 1, 3]].abs().amax((1, 2)).min() > 0
    nothing = torch.full((4,), Part.NONE)
    assert (
        torch.stack(gated_distillation(logits, judge=judge, teacher=teacher, parts=nothing)).abs().max() == 0
    )
