"""The gate and Algorithm 2's route against the algorithm written as a loop over samples."""

import pytest
import torch

from kcm_lightning.core.routing import Route, Thresholds, keeps, route
from kcm_lightning.utils.errors import InputError


def kept(confidence: float, threshold: float | None) -> bool:
    return threshold is not None and bool(torch.tensor(confidence) >= threshold)


@pytest.mark.parametrize("judge", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("other", [None, 0.0, 0.7])
def test_route_is_the_loop_over_samples(judge, other):
    torch.manual_seed(0)
    c_x, c_o = torch.rand(200), torch.rand(200)
    c_x[:3], c_o[:3] = torch.tensor([0.5, 1.0, 0.0]), torch.tensor([0.7, 0.7, 0.7])  # ties are kept
    routes = route(judge=c_x, second=c_o, thresholds=Thresholds(judge, other, other)).tolist()
    for i, (x, o) in enumerate(zip(c_x.tolist(), c_o.tolist(), strict=True)):
        by_judge, by_other = kept(x, judge), kept(o, other)
        assert routes[i] == (Route.JUDGE if by_judge else Route.STUDENT if by_other else Route.TEACHER)


def test_second_gate_uses_its_own_threshold():
    thresholds = Thresholds(judge=None, student=0.9, teacher=0.1)
    options = {"judge": torch.tensor([0.5]), "second": torch.tensor([0.5]), "thresholds": thresholds}
    assert route(**options).item() == Route.TEACHER
    assert route(**options, second_gate="teacher").item() == Route.STUDENT


def test_a_gate_tells_nearly_one_from_one():
    assert keeps(torch.tensor([0.99999]), 0.99999).item()
    assert not keeps(torch.tensor([0.99999]), 0.999999).item()


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan")])
def test_thresholds_outside_the_unit_interval_are_refused(value):
    with pytest.raises(InputError, match=r"judge=.*\[0, 1\]"):
        Thresholds(judge=value)
