"""Weights of a fusion on made-up models of which is known what they are worth."""

import time

import pytest
import torch
from scipy.optimize import minimize

from kcm_lightning.calibrate.fit_fusion import fit_fusion, fit_weights
from kcm_lightning.calibrate.fit_gate import fit_gate
from kcm_lightning.core.fusion import fusion_features
from kcm_lightning.core.learned_gate import LearnedGate, gate_features


def models(count: int, classes: int = 10, seed: int = 0, **strengths: float):
    """Labels, and logits of models whose errors are independent; their softmax is the true posterior."""
    draw = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (count,), generator=draw)
    signal = torch.nn.functional.one_hot(target, classes)
    return target, {
        who: strength * (strength * signal + torch.randn(count, classes, generator=draw))
        for who, strength in strengths.items()
    }


def features_of(logits, counts=None):
    teacher = logits["teacher"].softmax(-1)
    counts = torch.zeros(teacher.shape[1]) if counts is None else counts
    return fusion_features(
        teacher=teacher, judge_logits=logits["judge"], student_logits=logits["student"], log_counts=counts
    )


@pytest.mark.parametrize("penalty", [0.0, 0.03, 0.3])
def test_equals_an_independent_optimizer(penalty):
    target, logits = models(800, teacher=1.5, judge=1.0, student=0.0)
    logits["student"] = 0.5 * logits["judge"] + torch.randn(
        800, 10, generator=torch.Generator().manual_seed(9)
    )  # knows nothing of its own
    features = features_of(logits, torch.linspace(6, 1, 10))

    def objective(weights):
        mixed = torch.einsum("k,knv->nv", torch.from_numpy(weights), features.double())
        loss = torch.nn.functional.cross_entropy(mixed, target).item()
        return loss + penalty / 2 * (weights[1:] ** 2).sum() + 1e-6 / 2 * (weights**2).sum()

    bounds = [(0, None)] * 3 + [(None, None)]
    wanted = minimize(objective, [0.5] * 4, bounds=bounds, tol=1e-12).x
    found = fit_weights(features, target, penalty=penalty)
    assert found.tolist() == pytest.approx(wanted.tolist(), abs=2e-3)
    assert objective(found.numpy()) <= objective(wanted) + 1e-7


def test_a_useless_large_model_has_no_say():
    target, logits = models(2000, teacher=0.0, judge=1.5, student=1.0)
    logits["teacher"] = torch.randn(2000, 10, generator=torch.Generator().manual_seed(9))
    found = fit_fusion(features_of(logits), target)
    assert found.weights.teacher < 0.05 and found.weights.judge > 0.8 and found.gain > 0.3


def test_a_perfect_large_model_leaves_the_others_out():
    target, logits = models(2000, teacher=6.0, judge=1.0, student=1.0)
    found = fit_fusion(features_of(logits), target)
    assert found.weights is None  # nothing to gain
    weights = fit_weights(features_of(logits), target, penalty=0.03)
    assert max(weights[1:3]) < 0.15 * weights[0]


@pytest.mark.parametrize("distortion", [1.0, 3.0, 0.3])
def test_independent_errors_are_fused_as_well_as_can_be(distortion):
    """The posterior of all three models is known; the models state theirs too sure or too unsure of it."""
    target, logits = models(4000, teacher=1.6, judge=1.3, student=1.0)
    best = (sum(logits.values()).argmax(-1) == target).double().mean().item()
    scales = {"teacher": 1.0, "judge": distortion, "student": 1 / distortion}
    stated = {who: own * scales[who] for who, own in logits.items()}
    found = fit_fusion(features_of(stated), target)
    right = (found.prediction == target).double().mean().item()
    assert right > best - 0.005
    assert found.weights.judge * distortion == pytest.approx(found.weights.teacher, rel=0.2)
    alone = (logits["teacher"].argmax(-1) == target).double().mean().item()
    assert found.gain == pytest.approx(right - alone)


def test_a_small_model_that_knows_nothing_new_is_left_out():
    target, logits = models(1000, teacher=1.5, judge=1.0, student=1.0)
    draw = torch.Generator().manual_seed(9)
    for who in ("judge", "student"):  # errs where the large model errs
        logits[who] = logits["teacher"] * 0.7 + 0.5 * torch.randn(1000, 10, generator=draw)
    assert fit_fusion(features_of(logits), target).weights is None


def test_predictions_are_of_weights_that_have_not_seen_the_label():
    target, logits = models(300, teacher=1.2, judge=1.0, student=1.0)
    found = fit_fusion(features_of(logits), target)
    for row in range(0, 300, 60):
        other = target.clone()
        other[row] = (target[row] + 1) % 10
        again = fit_fusion(features_of(logits), other)
        assert again.prediction[row] == found.prediction[row]


def test_rare_classes_are_lifted_where_that_helps():
    draw = torch.Generator().manual_seed(1)
    counts = torch.logspace(2.5, 0.5, 10)
    target, logits = models(3000, teacher=1.2, judge=1.2, student=1.2)
    for who in ("judge", "student"):  # of models that were trained on a long tail
        logits[who] = logits[who] + counts.log() + 0.1 * torch.randn(10, generator=draw)
    assert fit_fusion(features_of(logits, counts.log()), target).weights.class_count < -0.3


@pytest.mark.slow
def test_gate_and_fusion_are_fitted_in_two_seconds():
    target, logits = models(10_000, classes=100, teacher=2.5, judge=2.0, student=2.0)
    counts = torch.linspace(6, 1, 100)
    seconds = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # whose time others on the machine do not lengthen
    for _ in range(3):
        start = time.process_time()
        fit_fusion(features_of(logits, counts), target)
        features = gate_features(
            judge_logits=logits["judge"], student_logits=logits["student"], log_counts=counts
        )
        fit_gate(LearnedGate, features, logits["student"].argmax(-1) == target)
        seconds.append(time.process_time() - start)
    torch.set_num_threads(threads)
    assert min(seconds) < 2


def test_rare_classes_are_lifted_as_far_as_the_likelihood_allows():
    """The weight of the class counts is the lowest within one standard error, by a search over many."""
    generator = torch.Generator().manual_seed(0)
    log_counts = torch.linspace(6, 1, 20)
    target = torch.randint(20, (1_000,), generator=generator)
    said = [
        torch.randn(1_000, 20, generator=generator) + scale * torch.eye(20)[target]
        for scale in (2.0, 1.5, 1.0)
    ]
    said[1] = said[1] + 0.5 * log_counts  # the judge leans to the frequent classes
    features = fusion_features(
        teacher=said[0].softmax(-1), judge_logits=said[1], student_logits=said[2], log_counts=log_counts
    )
    found = fit_fusion(features, target).weights
    numbers = torch.tensor([found.teacher, found.judge, found.student, 0.0])
    base = (numbers @ features.flatten(1)).view(1_000, 20)

    def losses(weight):
        return torch.nn.functional.cross_entropy(
            base + weight * log_counts, target, reduction="none"
        ).double()

    weights = torch.linspace(-1.0, 0.5, 601).tolist()
    best = min(weights, key=lambda weight: losses(weight).mean().item())
    more = {weight: losses(weight) - losses(best) for weight in weights if weight <= best}
    lowest = min(weight for weight, own in more.items() if own.mean() <= own.std() / 1_000**0.5)
    assert found.class_count == pytest.approx(lowest, abs=0.02) and lowest < best - 0.03
