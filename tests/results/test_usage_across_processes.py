"""What asking has cost in a command is what all its processes asked."""

import json

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from kcm_lightning.results import usage_of


class Teacher:
    """Has asked as often as it is told."""

    def __init__(self, requests: int):
        self.requests = requests

    def usage(self) -> dict:
        return {"requests": 70, "this_command": {"requests": self.requests, "off_format": 0}}


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(usage_of(Teacher([30, 12][rank])), file)
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_requests_of_two_processes_are_added(tmp_path):
    processes = [mp.get_context("fork").Process(target=work, args=(rank, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    wanted = {"requests": 70, "this_command": {"requests": 42, "off_format": 0}}
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)] == [wanted, wanted]
    assert usage_of(Teacher(5))["this_command"]["requests"] == 5
