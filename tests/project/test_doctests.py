"""The examples in the docstrings of the functional rooms, and that their public functions have one."""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "kcm_lightning"
ROOMS = ("kan", "metrics", "core", "calibrate")
MODULES = [
    f"kcm_lightning.{room}.{path.stem}"
    for room in ROOMS
    for path in sorted((PACKAGE / room).glob("*.py"))
    if path.stem != "__init__"
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module)
    assert result.failed == 0


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[1] in ("core", "metrics")])
def test_public_functions_of_tensors_have_an_example(name):
    """Those of the paper and of the metrics; not those that need models or captions, or only refuse input."""
    module = importlib.import_module(name)
    exempt = {
        "collaborate",
        "image_scores",
        "caption_curve",
        "random_scores",
        "score_difference",
        "tokenize",
        "score_tokenized",
        "has_java",
        "require_java",
        "ptb_tokenize",
        "check_template",
    }
    for key, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == name and not key.startswith("_") and key not in exempt:
            assert ">>>" in (function.__doc__ or ""), f"{name}.{key} has no example"
