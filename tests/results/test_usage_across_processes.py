"""What asking has cost in a command is what all its processes asked."""

import pytest
import torch.distributed as dist

from kcm_lightning.results import usage_of
from tests.two_processes import in_two_processes


class Teacher:
    """Has asked as often as it is told."""

    def __init__(self, requests: int):
        self.requests = requests

    def usage(self) -> dict:
        return {"requests": 70, "this_command": {"requests": self.requests, "off_format": 0}}


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_requests_of_two_processes_are_added(tmp_path):
    wanted = {"requests": 70, "this_command": {"requests": 42, "off_format": 0}}
    assert in_two_processes(lambda rank: usage_of(Teacher([30, 12][rank])), tmp_path) == [wanted, wanted]
    assert usage_of(Teacher(5))["this_command"]["requests"] == 5
