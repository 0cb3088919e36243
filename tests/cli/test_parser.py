"""How options are read."""

import pytest
from jsonargparse import ArgumentParser

from kcm_lightning.cli.parser import read_whole_numbers_first
from tests.run_commands import kcm_process


@pytest.mark.parametrize(("given", "read"), [("1", 1), ("1.0", 1.0), ("0.5", 0.5), ("null", None)])
def test_a_number_stays_one_whoever_named_the_union_first(given, read):
    parser = ArgumentParser()
    parser.add_argument("--x", type=float | int | None)
    assert isinstance(parser.parse_args(["--x=1"]).x, float)  # what is mended
    read_whole_numbers_first(parser)
    found = parser.parse_args([f"--x={given}"]).x
    assert found == read and type(found) is type(read)


@pytest.mark.slow
def test_a_limit_of_one_batch_is_no_fraction_in_a_process_of_its_own(tmp_path):
    words = ["--config", "quickstart.yaml", "--print_config", "--trainer.limit_test_batches=1"]
    assert "  limit_test_batches: 1\n" in kcm_process(tmp_path, "test", *words)
