"""What becomes of a batch when the large model has no answer to some of it."""

import torch
from kcm_lightning.core.gating import Route, Thresholds
from torch import nn

from kcm_lightning.core.collaboration import SampleLookup, class_predictor, collaborate
from kcm_lightning.large import LargeModel


class Silent(LargeModel):
    """Has no answer to texts that say so."""

    identity = "silent"

    def load(self, class_names, device):
        pass

    def distribution(self, inputs, hint=None, samples=None):
        rows = [[float("nan")] * 2 if text == "silent" else [0.1, 0.9] for text in inputs]
        return torch.tensor(rows).unsqueeze(1)


def test_the_student_answers_what_the_large_model_has_no_answer_to():
    small = nn.Identity()
    batch = {
        "small": torch.tensor([[1.0, 0.0]] * 3),
        "large": ["silent", "x", "silent"],
        "index": torch.arange(3),
    }
    outcome = collaborate(
        batch, class_predictor(small), class_predictor(small), Silent(), Thresholds(0.99, 0.99)
    )
    assert outcome.called.all() and outcome.route.tolist() == [Route.STUDENT, Route.TEACHER, Route.STUDENT]
    assert outcome.prediction.tolist() == [0, 1, 0] and outcome.teacher_prediction.tolist() == [-2, 1, -2]
    assert not outcome.confidence.isnan().any()


class Led(LargeModel):
    """Predictor what it is told, and class 0 where it is told nothing."""

    identity, uses_hint = "led", True

    def load(self, class_names, device):
        pass

    def distribution(self, inputs, hint=None, samples=None):
        alone = torch.tensor([[0.9, 0.1]]).expand(len(inputs), -1)
        return (alone if hint is None else hint).unsqueeze(1)


def test_what_the_large_model_says_alone_is_never_what_it_says_with_a_hint():
    small = nn.Identity()
    batch = {"small": torch.tensor([[0.0, 1.0]] * 3), "large": ["x"] * 3, "index": torch.arange(3)}
    for compare, alone in ((True, [0, 0, 0]), (False, [-1, -1, -1])):
        outcome = collaborate(
            batch,
            class_predictor(small),
            class_predictor(small),
            Led(),
            Thresholds(None, None),
            ask_every_student=compare,
            ask_every_teacher=compare,
        )
        assert (
            outcome.prediction.tolist() == [1, 1, 1]
            and outcome.teacher_without_hint_prediction.tolist() == alone
        )


def test_rows_by_place():
    rows = SampleLookup(torch.tensor([2**62, 5, 17]), torch.tensor([[0.0], [1.0], [2.0]]))
    assert rows[torch.tensor([17, 2**62, 5, 17])].squeeze(1).tolist() == [2, 0, 1, 2]
