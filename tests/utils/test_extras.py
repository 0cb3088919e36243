"""A package of an extra that is missing is named with the line that installs it."""

import sys
import tomllib
from pathlib import Path

import pytest

from kcm_lightning.large import Chat
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.extras import require
from kcm_lightning.utils.hugging_face import from_pretrained

ROOT = Path(__file__).parent.parent.parent


def test_what_is_missing_is_named():
    require("json", extra="chat", what="this")
    with pytest.raises(
        InputError, match=r"a tea pot needs the package teapot: pip install 'kcm_lightning\[tea\]'"
    ):
        require("teapot", extra="tea", what="a tea pot")


def test_a_chat_model_says_what_it_needs_before_anything_is_trained(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.setattr("kcm_lightning.utils.extras.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"a chat model needs the package openai: pip install 'kcm_lightning\[chat\]'"
    ):
        Chat("gpt-4o-mini")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(entry.startswith("openai") for entry in extras["chat"])


def test_a_model_of_timm_says_what_it_needs(monkeypatch):
    class Auto:
        @staticmethod
        def from_pretrained(name, **options):
            raise ImportError("TimmWrapperModel requires the timm library but it was not found")

    monkeypatch.setattr("kcm_lightning.utils.extras.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"'mobilenet' needs the package timm: pip install 'kcm_lightning\[timm\]'"
    ):
        from_pretrained(Auto, "mobilenet", "--model.teacher.name")
    monkeypatch.undo()
    monkeypatch.setattr("kcm_lightning.utils.extras.find_spec", lambda name: object())
    # it is there, but too old for instance: what is wrong is not that the model cannot be had
    with pytest.raises(InputError, match="'mobilenet' cannot be loaded: TimmWrapperModel requires the timm"):
        from_pretrained(Auto, "mobilenet", "--model.teacher.name")
