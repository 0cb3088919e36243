"""Expected calibration error from sums by bins."""

import torch
from torchmetrics.functional.classification import binary_calibration_error

from kcm_lightning.metrics import Reliability


def test_the_error_is_that_of_torchmetrics_whatever_the_batches():
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(500, generator=generator) ** 0.3
    right = torch.rand(500, generator=generator) < confidence**2
    metric = Reliability(bins=15)
    for rows in (slice(0, 123), slice(123, 124), slice(124, 500)):
        metric.update(confidence=confidence[rows], right=right[rows])
    expected = binary_calibration_error(confidence, right.long(), n_bins=15)
    torch.testing.assert_close(metric.compute(), expected)
    assert expected > 0.05
    counts = torch.histc(confidence, bins=15, min=0, max=1).long()
    assert torch.equal(metric.samples, counts)
    assert metric.right.sum() == right.sum()


def test_ends_of_the_range_count_and_no_answer_does_not():
    metric = Reliability(bins=4)
    metric.update(
        confidence=torch.tensor([0.0, 1.0, float("nan")], dtype=torch.bfloat16),
        right=torch.tensor([True, True, True]),
    )
    assert metric.samples.tolist() == [1, 0, 0, 1]
    assert metric.compute() == 0.5  # of the sample that nobody was sure of
    assert Reliability().update(torch.empty(0), torch.empty(0, dtype=torch.bool)) is None
