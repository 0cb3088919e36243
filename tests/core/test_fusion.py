"""Fusion against the equation, sample by sample and class by class."""

import math
import time

import pytest
import torch

from kcm_lightning.core.fusion import Fusion, fuse
from kcm_lightning.core.learned_gate import LearnedGate, gate_features
from kcm_lightning.utils.errors import InputError


def softmax(numbers: list[float]) -> list[float]:
    top = [math.exp(number - max(numbers)) for number in numbers]
    return [value / sum(top) for value in top]


@pytest.mark.parametrize(
    "weights",
    [Fusion(0.8, 0.4, 0.1, -0.1), Fusion(0.0, 1.0, 0.0, 0.0), Fusion(1.3, 0.0, 0.7, 0.0), Fusion(0, 0, 0, 0)],
)
def test_equals_the_equation(weights):
    torch.manual_seed(0)
    teacher, judge, student = torch.rand(5, 7).softmax(-1), 3 * torch.randn(5, 7), 2 * torch.randn(5, 7)
    counts = [500, 200, 100, 50, 20, 10, 5]
    found = fuse(
        weights,
        teacher=teacher,
        judge_logits=judge,
        student_logits=student,
        log_counts=torch.tensor(counts).log(),
    )
    for row in range(5):
        parts = teacher[row].tolist(), softmax(judge[row].tolist()), softmax(student[row].tolist()), counts
        numbers = (weights.teacher, weights.judge, weights.student, weights.class_count)
        wanted = softmax(
            [
                sum(number * math.log(part[label]) for number, part in zip(numbers, parts, strict=True))
                for label in range(7)
            ]
        )
        assert found[row].tolist() == pytest.approx(wanted, abs=1e-5)


def said(**other):
    zeros = torch.zeros(2, 3)
    known = {"teacher": zeros + 1 / 3, "judge_logits": zeros, "student_logits": zeros}
    return known | {"log_counts": torch.zeros(3)} | other


def test_without_an_answer_there_is_nothing_to_fuse():
    teacher = torch.tensor([[0.2, 0.3, 0.5], [float("nan")] * 3])
    found = fuse(Fusion(1.0, 1.0), **said(teacher=teacher))
    assert found[0].tolist() == pytest.approx([0.2, 0.3, 0.5]) and found[1].isnan().all()


def test_a_model_without_weight_need_not_have_been_asked():
    found = fuse(Fusion(1.0, 1.0), **said(student_logits=torch.full((2, 3), float("nan"))))
    assert not found.isnan().any()


def test_a_large_model_that_claims_certainty_can_be_outvoted():
    teacher, judge = (
        torch.tensor([[1.0, 0.0, 0.0]]).expand(2, 3),
        torch.tensor([[0.0, 20.0, 0.0]]).expand(2, 3),
    )
    found = fuse(Fusion(1.0, 1.0), **said(teacher=teacher, judge_logits=judge))
    assert found.argmax(-1).tolist() == [1, 1] and found.isfinite().all()


@pytest.mark.parametrize("field", ["teacher", "judge", "student", "class_count"])
def test_a_weight_outside_its_range_is_an_error(field):
    for value in (float("nan"), float("inf"), 101.0, -101.0):
        with pytest.raises(InputError, match=f"fusion {field}="):
            Fusion(**{field: value})
    if field != "class_count":
        with pytest.raises(InputError, match="outside"):
            Fusion(**{field: -0.1})


@pytest.mark.slow
def test_gate_and_fusion_cost_little_beside_the_judges_pass():
    """Under 2 % of the judge of `cifar_lt_cpu.yaml`, in processor time, the least of five rounds each."""
    from kcm_lightning.small import CKAN

    judge = CKAN(100, width=80, depths=(1, 2, 2), bottleneck=4, grid=3, order=1).eval()
    images, logits, counts = torch.randn(100, 3, 32, 32), 3 * torch.randn(2, 100, 100), torch.rand(100)
    teacher, gate, weights = torch.randn(100, 100).softmax(-1), LearnedGate(), Fusion(0.8, 0.4, 0.1, -0.1)

    def applied():
        features = gate_features(judge_logits=logits[0], student_logits=logits[1], log_counts=counts)
        gate.score(features)
        fuse(weights, teacher=teacher, judge_logits=logits[0], student_logits=logits[1], log_counts=counts)

    def least(work) -> float:
        seconds = []
        for _ in range(5):
            start = time.process_time()
            work()
            seconds.append(time.process_time() - start)
        return min(seconds)

    with torch.no_grad():
        assert least(applied) < 0.02 * least(lambda: judge(images))
