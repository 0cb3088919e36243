"""A short quickstart that several files of commands train."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the commands of a file run."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def quickstart_with(tiny_classifier, folder) -> Callable[..., list[str]]:
    """Options of `quickstart.yaml` with a tiny large model and a cache, and those that are given."""

    def options(*more: str) -> list[str]:
        large = [f"--model.teacher.name={tiny_classifier(10)}", f"--model.cache={folder / 'cache'}"]
        return ["--config=quickstart.yaml", *large, *more]

    return options
