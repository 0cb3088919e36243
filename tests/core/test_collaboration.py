"""What becomes of a batch when the large model has no answer to some of it."""

import pytest
import torch
from torch import nn

from kcm_lightning.core.collaboration import Ask, Gates, Roles, class_predictor, collaborate
from kcm_lightning.core.confidence import Temperatures
from kcm_lightning.core.fusion import Fusion, fuse
from kcm_lightning.core.learned_gate import LearnedGate, gate_features
from kcm_lightning.core.routing import Route, Thresholds
from kcm_lightning.large import LargeClassifier
from kcm_lightning.utils.errors import InputError
from tests.results.test_data_shunt_log import Written


class Silent(LargeClassifier):
    """Has no answer to texts that say so."""

    identity = "silent"

    def load(self, class_names, device):
        pass

    def distribution(self, query):
        rows = [[float("nan")] * 2 if text == "silent" else [0.1, 0.9] for text in query.inputs]
        return torch.tensor(rows).unsqueeze(1)


def test_the_student_answers_what_the_large_model_has_no_answer_to():
    small = nn.Identity()
    batch = {
        "small": torch.tensor([[1.0, 0.0]] * 3),
        "large": ["silent", "x", "silent"],
        "index": torch.arange(3),
    }
    roles = Roles(class_predictor(small), class_predictor(small), Silent())
    outcome = collaborate(batch, roles=roles, gates=Gates(Thresholds(0.99, 0.99)))
    assert outcome.called.all() and outcome.route.tolist() == [Route.STUDENT, Route.TEACHER, Route.STUDENT]
    assert outcome.prediction.tolist() == [0, 1, 0] and outcome.teacher_prediction.tolist() == [-2, 1, -2]
    assert not outcome.confidence.isnan().any()


class Drawn(LargeClassifier):
    """Has made-up beliefs; no answer to the last sample."""

    identity = "drawn"

    def __init__(self, distribution: torch.Tensor):
        self.known = distribution

    def load(self, class_names, device):
        pass

    def distribution(self, query):
        return self.known[query.sample_ids].unsqueeze(1)


@pytest.mark.parametrize("ask", [Ask.NOBODY, Ask.EVERYONE])
def test_a_learned_gate_routes_and_fused_answers_stand_where_the_large_model_is_called(ask):
    """Against the steps one by one; temperatures are those of the models' logits."""
    torch.manual_seed(0)
    count, classes, counts = 40, 5, torch.tensor([90.0, 50, 20, 10, 5]).log()
    judge, student = 2 * torch.randn(count, classes), 2 * torch.randn(count, classes)
    said = torch.randn(count, classes).softmax(-1)
    said[-1] = float("nan")
    judge[-1], student[-1] = 0.1 * judge[-1], 0.01 * student[-1]  # both are unsure of it
    heat, weights = Temperatures(1.3, 0.8, 1.7), Fusion(0.7, 0.4, 0.2, -0.1)
    gate = LearnedGate(intercept=-1.0, student_margin=0.8, judge_entropy=0.3, agree=0.5)
    predictors = (
        class_predictor(Written(judge), heat.judge),
        class_predictor(Written(student), heat.student),
    )
    gates = Gates(Thresholds(judge=0.8, student=0.6), heat, learned=gate, fusion=weights, log_counts=counts)
    numbers = torch.arange(count)
    batch = {"small": numbers, "large": numbers, "index": numbers}
    found = collaborate(batch, roles=Roles(*predictors, Drawn(said)), gates=gates, ask=ask)

    sure = (judge / heat.judge).softmax(-1).amax(-1) >= 0.8
    features = gate_features(judge_logits=judge, student_logits=student, log_counts=counts)
    kept = gate.score(features) >= 0.6
    large = (said.log() / heat.teacher).softmax(-1)
    fused = fuse(
        weights,
        teacher=large,
        judge_logits=judge / heat.judge,
        student_logits=student / heat.student,
        log_counts=counts,
    )
    whole = {"judge": (judge / heat.judge).softmax(-1), "student": (student / heat.student).softmax(-1)}
    whole |= {"teacher": fused}
    routes = [
        "judge" if own else "student" if other else "teacher" for own, other in zip(sure, kept, strict=True)
    ]
    assert {*routes} == {*whole} and routes[-1] == "teacher"
    assert found.called.tolist() == [who == "teacher" for who in routes]
    routes[-1] = "student"  # the large model has no answer to it
    assert [Route(code).name.lower() for code in found.route.tolist()] == routes
    for row, who in enumerate(routes):
        torch.testing.assert_close(found.distribution[row], whole[who][row])
        assert found.prediction[row] == whole[who][row].argmax()
        assert found.confidence[row] == pytest.approx(whole[who][row].max().item())
    asked = torch.tensor([who == "teacher" for who in routes]) | (ask is Ask.EVERYONE)
    asked[-1] = False
    assert torch.equal(found.fused_prediction[asked], fused[asked].argmax(-1))
    assert torch.equal(found.teacher_prediction[asked], large[asked].argmax(-1))
    assert found.fused_confidence[~asked].isnan().all() and found.fused_prediction[-1] == -2


def test_nothing_is_fused_without_weights():
    small = class_predictor(nn.Identity())
    said = torch.tensor([[0.3, 0.7]])
    batch = {"small": torch.zeros(1, 2), "large": torch.zeros(1), "index": torch.zeros(1, dtype=torch.long)}
    found = collaborate(batch, roles=Roles(small, small, Drawn(said)), gates=Gates(Thresholds(None, None)))
    assert found.fused_prediction is None and found.fused_confidence is None
    torch.testing.assert_close(found.distribution, said)


class Led(LargeClassifier):
    """Says what it is told, and class 0 where it is told nothing."""

    identity, uses_hint = "led", True

    def load(self, class_names, device):
        pass

    def distribution(self, query):
        alone = torch.tensor([[0.9, 0.1]]).expand(len(query), -1)
        return (alone if query.hint is None else query.hint).unsqueeze(1)


def test_what_the_large_model_says_alone_is_never_what_it_says_with_a_hint():
    small = nn.Identity()
    batch = {"small": torch.tensor([[0.0, 1.0]] * 3), "large": ["x"] * 3, "index": torch.arange(3)}
    roles = Roles(class_predictor(small), class_predictor(small), Led())
    for ask, alone in ((Ask.EVERYONE, [0, 0, 0]), (Ask.NOBODY, [-1, -1, -1])):
        outcome = collaborate(batch, roles=roles, gates=Gates(Thresholds(None, None)), ask=ask)
        assert (
            outcome.prediction.tolist() == [1, 1, 1]
            and outcome.teacher_without_hint_prediction.tolist() == alone
        )


@pytest.mark.parametrize("who", ["judge", "student"])
def test_a_confidence_that_is_no_number_is_an_error_and_no_call_of_the_large_model(who):
    class Broken(nn.Module):
        def forward(self, inputs):
            return inputs * torch.tensor([[1.0], [float("nan")]])

    models = {"judge": nn.Identity(), "student": nn.Identity()} | {who: Broken()}
    roles = Roles(class_predictor(models["judge"]), class_predictor(models["student"]), Silent())
    batch = {"small": torch.ones(2, 2), "large": ["x", "x"], "index": torch.arange(2)}
    with pytest.raises(InputError, match="1 of 2 confidences of a small model are NaN"):
        collaborate(batch, roles=roles, gates=Gates(Thresholds(0.99, 0.99)))


def test_a_shadowed_sample_is_asked_about_and_answered_as_ever():
    torch.manual_seed(0)
    logits = torch.randn(400, 3) * 3
    roles = Roles(
        class_predictor(nn.Identity()), class_predictor(nn.Identity()), Drawn(torch.rand(400, 3).softmax(-1))
    )
    batch = {"small": logits, "large": torch.arange(400), "index": torch.arange(400)}
    thresholds = Thresholds(None, 0.8)
    plain = collaborate(batch, roles=roles, gates=Gates(thresholds))
    outcome = collaborate(batch, roles=roles, gates=Gates(thresholds, shadow=0.25))
    assert plain.shadowed is None and 60 < outcome.shadowed.sum() < 140
    assert torch.equal(outcome.prediction, plain.prediction) and torch.equal(outcome.called, plain.called)
    asked = outcome.teacher_prediction != -1
    assert torch.equal(asked, outcome.called | outcome.shadowed)
    assert (outcome.shadowed & ~outcome.called).any()
