"""The learned gate finds what a confidence alone does not show."""

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kcm_lightning.calibrate.fit_gate import fit_gate
from kcm_lightning.core.learned_gate import LearnedGate


def made_up(count: int = 2000):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(count, 13, generator=draw) * torch.logspace(-1, 1, 13) + 3
    features[:, 4] = 2.0  # constant: says nothing
    truth = torch.linspace(1, -1, 13) / torch.logspace(-1, 1, 13)
    right = torch.rand(count, generator=draw) < ((features - 3) @ truth).sigmoid()
    return features, right


def test_equals_a_regression_on_standardized_features():
    features, right = made_up()
    gate, _ = fit_gate(LearnedGate, features, right)
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, tol=1e-8))
    wanted = reference.fit(features.double().numpy(), right.numpy()).predict_proba(features.double().numpy())
    torch.testing.assert_close(
        gate.score(features), torch.from_numpy(wanted[:, 1]).float(), atol=2e-4, rtol=0
    )
    assert gate.student_class_count == 0.0


def test_a_sample_is_scored_by_weights_that_have_not_seen_it():
    features, right = made_up(200)
    scores = fit_gate(LearnedGate, features, right)[1]
    for row in (0, 50, 199):
        other = right.clone()
        other[row] = ~right[row]
        assert fit_gate(LearnedGate, features, other)[1][row] == scores[row]


def test_answers_that_are_all_right_teach_nothing():
    features, right = made_up(100)
    assert fit_gate(LearnedGate, features, torch.ones_like(right)) is None
    assert fit_gate(LearnedGate, features, torch.zeros_like(right)) is None


def test_samples_count_by_their_weights():
    features, right = made_up(300)
    twice = torch.cat([features, features[:100]]), torch.cat([right, right[:100]])
    weights = torch.ones(300)
    weights[:100] = 2
    one, other = fit_gate(LearnedGate, features, right, weights)[0], fit_gate(LearnedGate, *twice)[0]
    torch.testing.assert_close(one.score(features), other.score(features), atol=0.02, rtol=0)
