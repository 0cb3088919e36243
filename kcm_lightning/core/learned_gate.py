"""The learned gate: how probable it is that the student is right, from all that the small models show."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kcm_lightning.core.regression import Regression

_MOST = 50.0  # a model that is left with one class is not infinitely sure


@dataclass
class LearnedGate(Regression):
    """Weights of a logistic regression that scores the student's answers; `calibrate` finds them.

    The score, the probability that the answer is right, takes the place of the student's confidence (equation
    1) at its gate. What is not asked costs nothing: all features are of the judge's and the student's logits.

    Args:
        intercept: added to the weighted features.
        student_confidence: weight of the log-odds of the student's largest probability.
        student_margin: weight of the difference of the student's two largest logits.
        student_entropy: weight of the entropy of the student's probabilities, in nats.
        student_log_sum_exp: weight of the log-sum-exp of the student's logits.
        student_class_count: weight of the log of the training samples of the class that the student answers.
        student_expected_class_count: weight of the mean of these logs under the student's probabilities.
        judge_confidence: as `student_confidence`, of the judge.
        judge_margin: as `student_margin`, of the judge.
        judge_entropy: as `student_entropy`, of the judge.
        judge_log_sum_exp: as `student_log_sum_exp`, of the judge.
        judge_class_count: as `student_class_count`, of the judge.
        judge_expected_class_count: as `student_expected_class_count`, of the judge.
        agree: weight of whether judge and student answer the same.
    """

    student_confidence: float = 1.0
    student_margin: float = 0.0
    student_entropy: float = 0.0
    student_log_sum_exp: float = 0.0
    student_class_count: float = 0.0
    student_expected_class_count: float = 0.0
    judge_confidence: float = 0.0
    judge_margin: float = 0.0
    judge_entropy: float = 0.0
    judge_log_sum_exp: float = 0.0
    judge_class_count: float = 0.0
    judge_expected_class_count: float = 0.0
    agree: float = 0.0


def gate_features(*, judge_logits: Tensor, student_logits: Tensor, log_counts: Tensor) -> Tensor:
    """What the weights of a `LearnedGate` are of, in their order, without the intercept.

    Args:
        judge_logits: shape `(B, V)`.
        student_logits: logits that the student answers by, `-inf` at classes that are pruned, shape `(B, V)`.
        log_counts: log of each class's number of training samples, shape `(V,)`.

    Returns:
        Shape `(B, 13)`, float32; NaN where the student was not asked.

    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> found = gate_features(judge_logits=logits, student_logits=logits, log_counts=torch.tensor([3.0, 1.0]))
    >>> found.shape, found[0, 1].item(), found[0, 4].item(), found[0, 12].item()
    (torch.Size([1, 13]), 2.0, 3.0, 1.0)
    """
    with torch.autocast(student_logits.device.type, enabled=False):
        student = _of_one(student_logits.float(), log_counts.float())
        judge = _of_one(judge_logits.float(), log_counts.float())
        agree = (judge_logits.argmax(-1) == student_logits.argmax(-1)).float()
        return torch.stack([*student, *judge, agree], dim=-1)


def _of_one(logits: Tensor, log_counts: Tensor) -> list[Tensor]:
    """Six features of a model's logits, each of shape `(B,)`."""
    log_probs = logits.log_softmax(-1)
    probabilities = log_probs.exp()
    (first, second), (answer, _) = (part.unbind(-1) for part in logits.topk(2, dim=-1))
    others = logits.scatter(-1, answer.unsqueeze(-1), float("-inf")).logsumexp(-1)
    entropy = -torch.where(probabilities > 0, probabilities * log_probs, 0.0).sum(-1)
    return [
        (first - others).clamp_max(_MOST),  # log p / (1 - p)
        (first - second).clamp_max(_MOST),
        entropy,
        logits.logsumexp(-1),
        log_counts[answer],
        probabilities @ log_counts,
    ]
