"""Calibration with pruned classes: the judge may keep what its student must leave to others."""

import torch

from kcm_lightning.calibrate.class_answer_recorder import ClassRecorder
from kcm_lightning.calibrate.thresholds import judge_threshold
from kcm_lightning.core.collaboration import Gates, Roles, class_predictor, collaborate
from kcm_lightning.core.pruning import Pruning
from kcm_lightning.core.routing import Thresholds
from tests.results.test_data_shunt_log import Certain, Written


class Module:
    """What a recorder asks of a module."""

    def __init__(self, pruning):
        self.pruning, self.teacher = pruning, Certain(torch.zeros(60, dtype=torch.long))


def recorded(pruning):
    """Sixty samples of ten classes on which judge and student agree, most of them of class 0."""
    torch.manual_seed(0)
    target = torch.arange(60) % 10 * (torch.arange(60) % 3 == 0)
    logits = torch.randn(60, 10) + 6 * torch.eye(10)[target]
    recorder = ClassRecorder(Module(pruning), ask=False, required=False)
    numbers = torch.arange(60)
    student = class_predictor(Written(logits), 1.0, pruning)
    roles = Roles(class_predictor(Written(logits)), student, Certain(target))
    batch = {"small": numbers, "large": numbers, "index": numbers, "target": target}
    outcome = collaborate(batch, roles=roles, gates=Gates(Thresholds(None, 0.0)))
    recorder.on_validation_batch_end(None, None, outcome, batch)
    recorder.region_of_class = torch.zeros(10, dtype=torch.long)
    found = recorder.recorded()
    return found.answers, found.found


def test_a_student_that_agrees_with_the_judge_closes_no_gate():
    plain, _ = recorded(None)
    assert plain.student_doubt.max() == 0
    for how in ("mask", "zero"):
        pruned, found = recorded(Pruning([0], how))
        assert pruned.student_doubt.max() == 0 and found.temperatures.student > 0
        assert judge_threshold(pruned) == judge_threshold(plain) == plain.judge_confidence.min()
        assert pruned.gate_score.mean() < plain.gate_score.mean()


class Silent(Certain):
    """A large model that gives no answer to the first thirteen samples."""

    def distribution(self, query):
        fresh = super().distribution(query)
        fresh[:13] = float("nan")
        return fresh


def test_samples_without_an_answer_of_the_large_model_are_counted():
    target = torch.arange(60) % 10
    module = Module(None)
    module.teacher = Silent(target)
    recorder = ClassRecorder(module, ask=True, required=True)
    numbers = torch.arange(60)
    logits = torch.randn(60, 10)
    roles = Roles(class_predictor(Written(logits)), class_predictor(Written(logits)), Certain(target))
    batch = {"small": numbers, "large": numbers, "index": numbers, "target": target}
    outcome = collaborate(batch, roles=roles, gates=Gates(Thresholds(None, 0.0)))
    recorder.on_validation_batch_end(None, None, outcome, batch)
    recorder.region_of_class = torch.zeros(10, dtype=torch.long)
    answers = recorder.recorded().answers
    assert recorder.unanswered == 13 and answers.teacher_right[13:].all()
    assert torch.equal(answers.teacher_right[:13], answers.student_right[:13])
