"""Algorithm 1's partition against the algorithm written as a loop over samples."""

import pytest
import torch

from kcm_lightning.core.partition import Part, partition
from kcm_lightning.core.routing import Thresholds
from tests.core.test_routing import kept


@pytest.mark.parametrize("judge", [None, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("other", [None, 0.0, 0.7])
def test_partition_is_the_loop_over_samples(judge, other):
    torch.manual_seed(0)
    c_x, c_l = torch.rand(200), torch.rand(200)
    c_x[:3], c_l[:3] = torch.tensor([0.5, 1.0, 0.0]), torch.tensor([0.7, 0.7, 0.7])  # ties are kept
    options = {"judge": c_x, "teacher": c_l, "thresholds": Thresholds(judge, None, other)}
    printed = partition(**options, order="printed").tolist()
    teacher_first = partition(**options, order="teacher_first").tolist()
    for i, (x, o) in enumerate(zip(c_x.tolist(), c_l.tolist(), strict=True)):
        by_judge, by_teacher = kept(x, judge), kept(o, other)
        assert printed[i] == (Part.JUDGE if by_judge else Part.TEACHER if by_teacher else Part.NONE)
        assert teacher_first[i] == (Part.TEACHER if by_teacher else Part.JUDGE if by_judge else Part.NONE)


def test_who_has_no_answer_teaches_nothing():
    nothing = torch.tensor([float("nan")])
    parts = partition(judge=torch.tensor([0.5]), teacher=nothing, thresholds=Thresholds(0.9, None, 0.0))
    assert parts.item() == Part.NONE
