"""A choice between captions and a learned gate are taken where they help, and only there."""

from types import SimpleNamespace

import pytest
import torch

from kcm_lightning.calibrate.answer_recorder import Found
from kcm_lightning.calibrate.answers import CaptionAnswers
from kcm_lightning.calibrate.caption_answer_recorder import CaptionRecorder
from kcm_lightning.core.caption_gate import CaptionChoice, CaptionGate
from kcm_lightning.metrics.image_scores import ImageScores


def made_up(shows: float, count: int = 400):
    """Captions whose CIDEr the least sure token shows, as far as `shows` says; confidences do not."""
    draw = torch.Generator().manual_seed(0)

    def scores(cider: torch.Tensor) -> ImageScores:
        return ImageScores(torch.ones(count, 10).double(), cider.double())

    features = torch.randn(count, 9, generator=draw)
    student = 0.5 + shows * features[:, 2] + 0.3 * torch.randn(count, generator=draw)
    large = 0.6 + 0.3 * torch.randn(count, generator=draw)
    answers = CaptionAnswers(
        judge_confidence=torch.rand(count, generator=draw),
        gate_score=torch.rand(count, generator=draw),
        student_doubt=torch.zeros(count),
        judge=scores(student),
        student=scores(student),
        teacher=scores(large),
        fused=scores(large),
    )
    columns = {"caption_features": features, "large_confidence": torch.full((count,), 0.9)}
    return answers, columns


@pytest.fixture
def recorder() -> CaptionRecorder:
    return CaptionRecorder(SimpleNamespace(), ask=True, required=True, learn_gate=True, fuse=True)


def test_what_shows_the_better_caption_is_found(recorder):
    (answers, columns), found = made_up(shows=0.4), Found()
    confidence = answers.gate_score
    recorder._fuse(answers, columns, found)
    assert isinstance(found.fusion, CaptionChoice) and found.fusion.student_minimum > 0.5
    alone, best = answers.teacher.cider, torch.maximum(answers.teacher.cider, answers.student.cider)
    gain = answers.fused.cider.mean() - alone.mean()
    assert found.fusion_gain == pytest.approx(gain.item()) and gain > 0.4 * (best - alone).mean()
    recorder._learn_gate(answers, columns["caption_features"], found)
    assert isinstance(found.gate, CaptionGate) and found.gate.student_minimum > 0.5
    assert answers.gate_score is not confidence
    kept = answers.gate_score > answers.gate_score.median()
    assert answers.student.cider[kept].mean() > answers.student.cider[~kept].mean() + 0.3


def test_what_shows_nothing_is_left_out(recorder):
    (answers, columns), found = made_up(shows=0.0), Found()
    large = answers.teacher.cider.clone()
    recorder._fuse(answers, columns, found)
    assert found.fusion is None and torch.equal(answers.fused.cider, large)
