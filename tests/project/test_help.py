"""Docstrings are the command line's help: every option says what it is, in words that stand alone."""

import inspect
import re

import docstring_parser
import pytest

import kcm_lightning.data
import kcm_lightning.large
import kcm_lightning.module
import kcm_lightning.small
from kcm_lightning.calibrate import KCMTrainer
from kcm_lightning.core.confidence import Temperatures
from kcm_lightning.core.pruning import Pruning
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.large.budget import Budget, Prices
from kcm_lightning.module.optimizers import Phase
from tests.run_commands import kcm_process

ROOMS = (kcm_lightning.module, kcm_lightning.large, kcm_lightning.small, kcm_lightning.data)
CLASSES = [getattr(room, name) for room in ROOMS for name in room.__all__]
BASES = (kcm_lightning.data.KCMDataModule, kcm_lightning.data.CaptionDataModule)
CLASSES = [
    kind for kind in CLASSES if inspect.isclass(kind) and kind not in BASES and not inspect.isabstract(kind)
]
CLASSES += [Phase, Thresholds, Temperatures, Pruning, Budget, Prices]


def described(function) -> dict[str, str]:
    found = docstring_parser.parse(inspect.getdoc(function) or "").params
    return {entry.arg_name: " ".join((entry.description or "").split()) for entry in found}


def options_of(function) -> list[inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return [
        own
        for own in parameters
        if own.name != "self" and own.kind not in (own.VAR_KEYWORD, own.VAR_POSITIONAL)
    ]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_option_says_what_it_is(kind):
    if kind.__init__ is object.__init__:
        return
    texts = described(kind)
    for option in options_of(kind.__init__):
        text = texts.get(option.name, "")
        assert len(text.split()) >= 3, f"{kind.__name__}.{option.name} is not explained"
        assert not re.match(r"(of|as of|see) ", text), (
            f"{kind.__name__}.{option.name}: {text!r} is half a sentence"
        )
        choices = (
            re.findall(r"['\"](\w+)['\"]", str(option.annotation))
            if "Literal" in str(option.annotation)
            else []
        )
        for choice in choices:
            assert choice in text, f"{kind.__name__}.{option.name} does not name its choice {choice!r}"
        if option.default is None and option.annotation is not inspect.Parameter.empty:
            assert re.search(r"null|None|default|instead", text), (
                f"{kind.__name__}.{option.name}: what does null do?"
            )


def test_calibrate_explains_its_options():
    texts = described(KCMTrainer.calibrate)
    assert all(len(texts[option.name].split()) >= 2 for option in options_of(KCMTrainer.calibrate))


def test_no_docstring_speaks_in_riddles():
    for room in ROOMS:
        for path in sorted(__import__("pathlib").Path(room.__file__).parent.parent.rglob("*.py")):
            text = path.read_text()
            assert not re.search(r"\bas of\b|one's own|stable place", text), path


@pytest.mark.slow
def test_the_command_line_prints_it(tmp_path):
    printed = kcm_process(tmp_path, "fit", "--model.help", "kcm_lightning.module.KCMModule")
    flat = " ".join(printed.split())
    assert "which KL divergence teaches the student (equations 4 and 5)" in flat
    printed = kcm_process(tmp_path, "calibrate", "--help")
    assert "lm_rate=X" in printed
