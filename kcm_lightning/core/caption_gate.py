"""The learned gate of captions: how probably the student's caption is as good as the large model's.

Probabilities of captions cannot be multiplied, so that fusion is a choice between two captions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kcm_lightning.core.predictions import SmallPrediction
from kcm_lightning.core.regression import Regression

_SURE = 1e-4  # a confidence is at least this far from 0 and 1


@dataclass
class CaptionGate(Regression):
    """Weights of a logistic regression that scores the student's captions; `calibrate` finds them.

    The score takes the place of the caption's confidence (equation 1) at the student's gate.

    Args:
        intercept: added to the weighted features.
        student_length: weight of the number of tokens of the student's caption.
        student_mean: weight of the mean of their log-probabilities.
        student_minimum: weight of the least of them.
        student_spread: weight of their standard deviation.
        judge_length: as `student_length`, of the judge.
        judge_mean: as `student_mean`, of the judge.
        judge_minimum: as `student_minimum`, of the judge.
        judge_spread: as `student_spread`, of the judge.
        agree: weight of whether judge and student say the same.
    """

    student_length: float = 0.0
    student_mean: float = 1.0
    student_minimum: float = 0.0
    student_spread: float = 0.0
    judge_length: float = 0.0
    judge_mean: float = 0.0
    judge_minimum: float = 0.0
    judge_spread: float = 0.0
    agree: float = 0.0


@dataclass
class CaptionChoice(CaptionGate):
    """Weights that choose between the captions of student and large model where both are known.

    The student's stands where its score is above one half.

    Args:
        teacher_confidence: weight of the log-odds of the large model's confidence.
    """

    teacher_confidence: float = 0.0


def token_features(log_probabilities: Tensor, counted: Tensor) -> Tensor:
    """Length, and mean, minimum and standard deviation of the log-probabilities of a caption's tokens.

    Args:
        log_probabilities: shape `(B, L)`.
        counted: which tokens belong to the caption, its end included, shape `(B, L)`.

    Returns:
        Shape `(B, 4)`, float32; zeros but the length for a caption without tokens.

    >>> token_features(torch.tensor([[-1.0, -3.0, 0.0]]), torch.tensor([[True, True, False]])).tolist()
    [[2.0, -2.0, -3.0, 1.0]]
    """
    said = log_probabilities.float().masked_fill(~counted, 0.0)
    length = counted.sum(1)
    many = length.clamp_min(1)
    mean = said.sum(1) / many
    spread = (((said - mean.unsqueeze(1)) * counted) ** 2).sum(1).div(many).sqrt()
    return torch.stack([length.float(), mean, said.amin(1), spread], dim=1)


def caption_features(judge: SmallPrediction, student: SmallPrediction) -> Tensor:
    """What the weights of a `CaptionGate` are of, shape `(B, 9)`; NaN where the student was not asked.

    >>> said = SmallPrediction(["a dog"], torch.ones(1), token_features=torch.zeros(1, 4))
    >>> caption_features(said, said).tolist()  # they agree
    [[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]]
    """
    assert judge.token_features is not None and student.token_features is not None
    pairs = zip(judge.prediction, student.prediction, strict=True)
    agree = judge.confidence.new_tensor([float(one == other) for one, other in pairs])
    return torch.cat([student.token_features, judge.token_features, agree.unsqueeze(1)], dim=1)


def choice_features(features: Tensor, teacher_confidence: Tensor) -> Tensor:
    """What the weights of a `CaptionChoice` are of, shape `(B, 10)`.

    Args:
        features: as `caption_features` returns them.
        teacher_confidence: the large model's confidence in its caption, fractions, shape `(B,)`.

    >>> choice_features(torch.ones(1, 9), torch.tensor([0.5]))[0, -1].item()
    0.0
    """
    sure = teacher_confidence.float().clamp(_SURE, 1 - _SURE).logit()
    return torch.cat([features, sure.unsqueeze(1)], dim=1)
