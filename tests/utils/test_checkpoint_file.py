"""Checkpoints that are none, that are damaged, and that would run a program."""

import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch

from kcm_lightning.utils.checkpoint_file import read_checkpoint
from kcm_lightning.utils.errors import InputError


class Payload:
    """Runs a command where it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


def test_tensors_and_plain_values_come_back(tmp_path):
    weights = {"a": torch.arange(3.0)}
    torch.save({"state_dict": weights, "epoch": 2}, tmp_path / "last.ckpt")
    found = read_checkpoint(tmp_path / "last.ckpt", "--ckpt_path")
    assert found["epoch"] == 2 and torch.equal(found["state_dict"]["a"], weights["a"])


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))])
def test_what_would_run_is_named_and_does_not_run(tmp_path, save):
    path, trace = tmp_path / "best.ckpt", tmp_path / "trace"
    save({"state_dict": {}, "payload": Payload(trace)}, path)
    with pytest.raises(InputError, match=r"--ckpt_path: '.*best.ckpt' holds more than .*, posix.system"):
        read_checkpoint(path, "--ckpt_path")
    assert not trace.exists()


@pytest.mark.parametrize(
    "value", [[1], {}, {"state_dict": [1]}, {"state_dict": {1: torch.ones(1)}}, {"state_dict": {"a": 1}}]
)
def test_what_holds_no_weights_is_no_checkpoint(tmp_path, value):
    torch.save(value, tmp_path / "best.ckpt")
    with pytest.raises(InputError, match="is no checkpoint of a run, or cut off"):
        read_checkpoint(tmp_path / "best.ckpt", "--ckpt_path")


def test_damaged_files_are_one_line(tmp_path):
    torch.save({"state_dict": {"a": torch.arange(1000.0)}}, tmp_path / "whole.ckpt")
    whole = (tmp_path / "whole.ckpt").read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(torch.arange(1000.0).numpy().tobytes()) + 2003] ^= 1  # one bit of one weight
    for content in (b"", b"text", pickle.dumps([1]), whole[:300], whole[:-60], bytes(flipped)):
        (tmp_path / "best.ckpt").write_bytes(content)
        with warnings.catch_warnings(), pytest.raises(InputError, match="is no checkpoint of a run") as found:
            warnings.simplefilter("error")
            read_checkpoint(tmp_path / "best.ckpt", "--ckpt_path")
        assert "\n" not in str(found.value)
    with pytest.raises(InputError, match="there is no file"):
        read_checkpoint(tmp_path, "--ckpt_path")
