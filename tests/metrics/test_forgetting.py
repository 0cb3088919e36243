"""Forgetting and backward transfer against the definitions, in loops over tasks."""

import pytest
import torch

from kcm_lightning.metrics import AverageForgetting, BackwardTransfer, TaskAccuracy

TASK_OF_CLASS = torch.tensor([0, 0, 1, 1, 2, 2])


def answers(after: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(after)
    target = torch.randint(0, 6, (60,), generator=generator)
    wrong = torch.rand(60, generator=generator) < 0.2 + 0.2 * (after - TASK_OF_CLASS[target]).clamp_min(0)
    return torch.where(wrong, (target + 1) % 6, target), target


def naive_matrix() -> list[list[float]]:
    matrix = []
    for after in range(3):
        prediction, target = answers(after)
        row = []
        for task in range(3):
            pairs = [
                (p, t)
                for p, t in zip(prediction.tolist(), target.tolist(), strict=True)
                if TASK_OF_CLASS[t] == task
            ]
            row.append(sum(p == t for p, t in pairs) / len(pairs))
        matrix.append(row)
    return matrix


def counted(metric):
    for after in range(3):
        prediction, target = answers(after)
        for rows in torch.arange(60).split(7):  # in batches
            metric.update(after, prediction[rows], target[rows])
    return metric


def test_the_matrix_and_both_figures():
    matrix = naive_matrix()
    torch.testing.assert_close(counted(TaskAccuracy(TASK_OF_CLASS)).compute(), torch.tensor(matrix))
    # Chaudhry et al. 2018: f_j = max over l < T of a_lj - a_Tj; Lopez-Paz and Ranzato 2017: a_Tj - a_jj
    forgotten = [max(matrix[i][j] for i in range(j, 2)) - matrix[2][j] for j in range(2)]
    transfer = [matrix[2][j] - matrix[j][j] for j in range(2)]
    assert counted(AverageForgetting(TASK_OF_CLASS)).compute() == pytest.approx(sum(forgotten) / 2)
    assert counted(BackwardTransfer(TASK_OF_CLASS)).compute() == pytest.approx(sum(transfer) / 2)
    assert sum(forgotten) > 0 > sum(transfer)


def test_a_task_known_better_later_counts_from_its_best():
    metric = AverageForgetting(torch.tensor([0, 1, 2]))
    for after, right in ((0, 1), (1, 3), (2, 2)):  # of four samples of class 0
        metric.update(
            after, torch.tensor([0] * right + [1] * (4 - right) + [1, 2]), torch.tensor([0] * 4 + [1, 2])
        )
    assert metric.compute() == pytest.approx((0.75 - 0.5 + 0) / 2)


def test_one_task_forgets_nothing():
    for kind in (AverageForgetting, BackwardTransfer):
        metric = kind(torch.zeros(3, dtype=torch.long))
        metric.update(0, torch.tensor([0, 1]), torch.tensor([0, 2]))
        assert metric.compute() == 0


def test_counts_are_kept_in_checkpoints_and_a_row_can_be_counted_anew():
    metric = counted(TaskAccuracy(TASK_OF_CLASS))
    again = TaskAccuracy(TASK_OF_CLASS)
    again.load_state_dict(metric.state_dict())
    again.restart(2)
    assert again.correct[2].sum() == 0 and (again.correct[:2] == metric.correct[:2]).all()
    again.update(2, *answers(2))
    torch.testing.assert_close(again.compute(), metric.compute())
