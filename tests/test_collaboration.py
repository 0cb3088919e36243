"""What becomes of a batch when the large model has no answer to some of it."""

import torch
from torch import nn

from kcm_lightning.collaboration import RowsByPlace, collaborate, says_class
from kcm_lightning.gating import Route, Thresholds
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
    batch = {"small": torch.tensor([[1.0, 0.0]] * 3), "large": ["silent", "x", "silent"], "index": torch.arange(3)}
    outcome = collaborate(batch, says_class(small), says_class(small), Silent(), Thresholds(0.99, 0.99))
    assert outcome.called.all() and outcome.route.tolist() == [Route.STUDENT, Route.TEACHER, Route.STUDENT]
    assert outcome.prediction.tolist() == [0, 1, 0] and outcome.teacher_prediction.tolist() == [-2, 1, -2]
    assert not outcome.confidence.isnan().any()


def test_rows_by_place():
    rows = RowsByPlace(torch.tensor([2**62, 5, 17]), torch.tensor([[0.0], [1.0], [2.0]]))
    assert rows[torch.tensor([17, 2**62, 5, 17])].squeeze(1).tolist() == [2, 0, 1, 2]
