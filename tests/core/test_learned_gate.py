"""The learned gate's features and score, sample by sample."""

import math
from dataclasses import fields

import pytest
import torch

from kcm_lightning.core.learned_gate import LearnedGate, gate_features

COUNTS = [500, 100, 20, 5]


def features_of(logits: list[float]) -> tuple[list[float], int]:
    log_sum = math.log(sum(math.exp(value) for value in logits))
    probabilities = [math.exp(value - log_sum) for value in logits]
    order = sorted(range(len(logits)), key=lambda label: -logits[label])
    p = probabilities[order[0]]
    return [
        math.log(p / (1 - p)),
        logits[order[0]] - logits[order[1]],
        -sum(q * math.log(q) for q in probabilities),
        log_sum,
        math.log(COUNTS[order[0]]),
        sum(q * math.log(count) for q, count in zip(probabilities, COUNTS, strict=True)),
    ], order[0]


def test_equals_the_definitions():
    torch.manual_seed(0)
    judge, student = 2 * torch.randn(6, 4), 2 * torch.randn(6, 4)
    student[0] = judge[0]
    counts = torch.tensor(COUNTS).log()
    found = gate_features(judge_logits=judge, student_logits=student, log_counts=counts)
    weights = torch.linspace(-1, 1, 13).tolist()
    score = LearnedGate(0.3, *weights).score(found)
    for row in range(6):
        (of_student, one), (of_judge, other) = (
            features_of(logits[row].tolist()) for logits in (student, judge)
        )
        wanted = [*of_student, *of_judge, float(one == other)]
        assert found[row].tolist() == pytest.approx(wanted, abs=1e-4)
        total = 0.3 + sum(weight * value for weight, value in zip(weights, wanted, strict=True))
        assert score[row].item() == pytest.approx(1 / (1 + math.exp(-total)), abs=1e-5)
    assert found[0, -1] == 1


def test_the_default_gate_is_the_students_confidence():
    logits = torch.randn(20, 5)
    features = gate_features(judge_logits=logits, student_logits=logits, log_counts=torch.zeros(5))
    torch.testing.assert_close(LearnedGate().score(features), logits.softmax(-1).amax(-1))
    assert len(fields(LearnedGate)) == features.shape[1] + 1


def test_pruned_classes_and_samples_that_were_not_asked_about():
    student = torch.tensor([[1.0, 2.0, float("-inf")], [float("nan")] * 3, [1.0] + [float("-inf")] * 2])
    found = gate_features(judge_logits=torch.zeros(3, 3), student_logits=student, log_counts=torch.zeros(3))
    assert found[[0, 2]].isfinite().all()
    assert LearnedGate().score(found).isnan().tolist() == [False, True, False]
