"""The learned gate finds what a confidence alone does not show."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kcm_lightning.calibrate.fit_gate import fit_gate, routes_better


def made_up(count: int = 2000):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(count, 13, generator=draw) * torch.logspace(-1, 1, 13) + 3
    features[:, 4] = 2.0  # constant: says nothing
    truth = torch.linspace(1, -1, 13) / torch.logspace(-1, 1, 13)
    right = torch.rand(count, generator=draw) < ((features - 3) @ truth).sigmoid()
    return features, right


def test_equals_a_regression_on_standardized_features():
    features, right = made_up()
    gate, _ = fit_gate(features, right)
    reference = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    wanted = reference.fit(features.double().numpy(), right.numpy()).predict_proba(features.double().numpy())
    torch.testing.assert_close(
        gate.score(features), torch.from_numpy(wanted[:, 1]).float(), atol=2e-4, rtol=0
    )
    assert gate.student_class_count == 0.0


def test_a_sample_is_scored_by_weights_that_have_not_seen_it():
    features, right = made_up(200)
    scores = fit_gate(features, right)[1]
    for row in (0, 50, 199):
        other = right.clone()
        other[row] = ~right[row]
        assert fit_gate(features, other)[1][row] == scores[row]


def test_answers_that_are_all_right_teach_nothing():
    features, right = made_up(100)
    assert fit_gate(features, torch.ones_like(right)) is None
    assert fit_gate(features, torch.zeros_like(right)) is None


@pytest.mark.parametrize("better", [True, False])
def test_it_is_taken_only_where_it_routes_better(better):
    right = torch.arange(100) < 60
    score, noise = torch.linspace(1, 0, 100), torch.rand(100, generator=torch.Generator().manual_seed(0))
    one, other = (score, noise) if better else (noise, score)
    everything = torch.ones(100, dtype=torch.bool)
    assert routes_better(one, other, student_right=right, routed_right=everything) is better
    assert not routes_better(one, one, student_right=right, routed_right=everything)
