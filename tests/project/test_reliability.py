"""Each fault that docs/reliability.md lists has the test that it names."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| fault |", "| --- |"))
]


def functions_of(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_test_of_a_fault_exists(row):
    fault, how, now, tests = row
    assert fault and how and now
    named = re.findall(r"`([\w/]+\.py)(?:::(test_\w+))?`", tests)
    assert len(named) == len(tests.split(", ")), tests
    for file, test in named:
        assert (TESTS / file).is_file() and (not test or test in functions_of(TESTS / file)), (
            f"{file}::{test}"
        )


def test_the_page_is_a_list_of_faults():
    assert len(ROWS) > 50
