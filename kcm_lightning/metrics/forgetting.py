"""What is forgotten when tasks are learned one after the other."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


def average_forgetting(accuracy: Tensor) -> Tensor:
    """Mean over all tasks but the last of the best accuracy since it was learned minus that at the end.

    From Chaudhry et al. (2018).

    Args:
        accuracy: on task j after task i has been learned, at row i and column j, fractions, shape `(T, T)`.

    Returns:
        A fraction in [-1, 1], a scalar; 0 for a single task. Negative where later tasks helped.

    >>> average_forgetting(torch.tensor([[0.75, 0.0], [0.25, 1.0]])).item()
    0.5
    """
    earlier = accuracy[:-1, :-1]
    if not earlier.numel():
        return accuracy.new_zeros(())
    seen = (
        torch.ones_like(earlier).tril().bool()
    )  # what a task's accuracy was before it was learned does not count
    best = earlier.masked_fill(~seen, float("-inf")).amax(0)
    return (best - accuracy[-1, :-1]).mean()


def backward_transfer(accuracy: Tensor) -> Tensor:
    """Mean over all tasks but the last of the accuracy at the end minus that right after learning.

    From Lopez-Paz and Ranzato (2017).

    Args:
        accuracy: see `average_forgetting`.

    Returns:
        A fraction in [-1, 1], a scalar; 0 for a single task. Negative where tasks are forgotten.

    >>> backward_transfer(torch.tensor([[0.75, 0.0], [0.25, 1.0]])).item()
    -0.5
    """
    if len(accuracy) < 2:
        return accuracy.new_zeros(())
    return (accuracy[-1, :-1] - accuracy.diagonal()[:-1]).mean()


class TaskAccuracy(Metric):
    """Accuracy on each task after each task has been learned. Its counts are kept in checkpoints.

    Args:
        task_of_class: task of each class, shape `(V,)`.
        **kwargs: options of `torchmetrics.Metric`.

    >>> metric = TaskAccuracy(torch.tensor([0, 1]))
    >>> metric.update(after=0, prediction=torch.tensor([0, 0]), target=torch.tensor([0, 1]))
    >>> metric.compute()[0].tolist()
    [1.0, 0.0]
    """

    full_state_update = False

    task_of_class: Tensor
    correct: Tensor
    total: Tensor

    def __init__(self, task_of_class: Tensor, **kwargs: Any):
        super().__init__(**kwargs)
        self.register_buffer("task_of_class", task_of_class, persistent=False)
        tasks = int(task_of_class.max()) + 1
        for name in ("correct", "total"):
            self.add_state(
                name, torch.zeros(tasks, tasks, dtype=torch.long), dist_reduce_fx="sum", persistent=True
            )

    def update(self, after: int, prediction: Tensor, target: Tensor) -> None:
        """Counts a batch.

        Args:
            after: the task that was learned last, from 0.
            prediction: class indices, shape `(B,)`.
            target: class indices, shape `(B,)`.
        """
        task = self.task_of_class[target]
        tasks = len(self.total)
        self.total[after] += torch.bincount(task, minlength=tasks)
        self.correct[after] += torch.bincount(task[prediction == target], minlength=tasks)

    def restart(self, after: int) -> None:
        """Forgets what was counted after a task, so that it can be counted anew."""
        self.total[after] = self.correct[after] = 0
        self._computed = None

    def compute(self) -> Tensor:
        """Fractions `(T, T)`: row i, column j is task j after task i; NaN where nothing was counted."""
        return self.correct / self.total


class AverageForgetting(TaskAccuracy):
    """`average_forgetting` of what was counted."""

    def compute(self) -> Tensor:
        return average_forgetting(super().compute())


class BackwardTransfer(TaskAccuracy):
    """`backward_transfer` of what was counted."""

    def compute(self) -> Tensor:
        return backward_transfer(super().compute())
