"""What becomes of a batch when the large model has no answer to some of it."""

import pytest
import torch
from torch import nn

from kcm_lightning.core.collaboration import Ask, Gates, Roles, class_predictor, collaborate
from kcm_lightning.core.routing import Route, Thresholds
from kcm_lightning.large import LargeClassifier
from kcm_lightning.utils.errors import InputError


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
