"""Help of a class is what a person needs: every option, its choices and its default."""

import inspect
import re

import pytest
from lightning import Trainer

from kcm_lightning.cli.class_help import class_help
from kcm_lightning.module import KCMModule, KCMTwoStage
from kcm_lightning.utils.errors import InputError
from tests.run_commands import kcm


def options_of(page: str) -> set[str]:
    return set(re.findall(r"^(--\S+)  ", page, re.M)) | {
        name.removesuffix(".*") for name in re.findall(r"^(--\S+\.\*)$", page, re.M)
    }


@pytest.mark.parametrize(
    "spelling", [["--model.help", "KCMModule"], ["--model.help=kcm_lightning.module.KCMModule"]]
)
def test_every_option_stands_there_once(spelling):
    page = class_help(["fit", *spelling])
    names = list(inspect.signature(KCMModule.__init__).parameters)[1:]
    assert options_of(page) == {f"--model.{name}" for name in names}
    assert len(page.splitlines()) < 160 and max(map(len, page.splitlines())) <= 110


def test_choices_are_the_projects_own_with_meaning_and_default():
    page = class_help(["fit", "--model.help", "KCMModule"])
    assert "choices: CKAN, CNN, GRU, TKAN" in page and "torch.nn" not in page
    assert "choices: CLIP, Chat, ImageClassifier" in page
    assert "--model.loss  logit_adjusted | plain | balanced | tlc  (default logit_adjusted)" in page
    assert "  --model.judge_phase.epochs  whole number  (required)\n      passes over the data" in page
    assert "  --model.thresholds.judge  number or null  (default 0.98)" in page


def test_options_that_are_handed_on_stand_there_too():
    page = class_help(["fit", "--model.help", "KCMTwoStage"])
    own = set(list(inspect.signature(KCMTwoStage.__init__).parameters)[1:]) - {"kwargs"}
    names = own | set(list(inspect.signature(KCMModule.__init__).parameters)[1:])
    assert options_of(page) == {f"--model.{name}" for name in names}


def test_classes_within_are_explained_by_name():
    page = class_help(["fit", "--config", "quickstart.yaml", "--model.judge.help", "CKAN"])
    assert "--model.judge.width  whole number" in page
    assert "--data.imbalance" in class_help(["test", "--data.help=DigitsLT"])
    assert "torch.nn.modules.linear.Linear" in class_help(["fit", "--model.judge.help", "torch.nn.Linear"])


def test_without_a_class_the_choices_are_listed():
    page = class_help(["fit", "--model.help"])
    assert "KCMModule " in page and "KCMCaptions " in page and "--model.help CLASS" in page
    assert "ImageClassifier " in class_help(["fit", "--model.teacher.help", "--config", "quickstart.yaml"])
    assert "DigitsLT " in class_help(["fit", "--data.help"]) and "KCMDataModule" not in class_help(
        ["fit", "--data.help"]
    )


def test_an_unknown_class_is_one_line():
    with pytest.raises(
        InputError, match=r"--data.help: there is no class 'Digits'; there are APD, CIFAR100LT"
    ):
        class_help(["fit", "--data.help", "Digits"])
    assert class_help(["fit", "--config", "quickstart.yaml"]) is None


def test_the_options_of_the_trainer_stand_there_too():
    page = class_help(["fit", "--trainer.help"])
    names = list(inspect.signature(Trainer.__init__).parameters)[1:]
    assert options_of(page) == {f"--trainer.{name}" for name in names}
    flat = " ".join(page.split())
    assert "--trainer.max_epochs whole number or null (default null) Stop training once this number" in flat


def test_it_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for words in (["--model.help", "KCMModule"], ["--model.teacher.help"]):
        lines = class_help(["fit", *words]).splitlines()
        assert max(len(line) for line in lines if not line.startswith("--")) <= 80


def test_on_the_command_line(tmp_path):
    assert "--model.judge_ckpt  text or null  (default null)" in kcm(
        tmp_path, "fit", "--model.help", "KCMModule"
    )
