"""A run goes on with the options and the large model that it began with, and its records stay those of its
beginning."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from kcm_lightning.results.fit_options import check_options
from kcm_lightning.utils.errors import InputError
from tests.run_commands import kcm

BEGAN = {
    "seed_everything": 3,
    "trainer": {"precision": None, "max_epochs": 2, "logger": None, "callbacks": None, "devices": 1},
    "model": {
        "class_path": "kcm_lightning.module.KCMModule",
        "init_args": {
            "judge": {"class_path": "kcm_lightning.small.CKAN", "init_args": {"depths": [1, 1], "grid": 3}},
            "teacher": {
                "class_path": "kcm_lightning.large.ImageClassifier",
                "init_args": {"name": "here/large", "labels": {"cra": "crab"}},
            },
            "judge_phase": {"epochs": 2, "lr": 0.003, "optimizer": "adamw", "lr_drops": None},
            "thresholds": {"judge": 0.9, "student": 0.8},
            "loss": "plain",
            "partition": "teacher_first",
            "cache": None,
            "judge_ckpt": None,
        },
    },
    "data": {
        "class_path": "kcm_lightning.data.DigitsLT",
        "init_args": {"batch_size": 16, "eval_batch_size": 300, "root": "here"},
    },
}


def with_option(name: str, value) -> dict:
    """The configuration with another value of an option, by its full name."""
    config = copy.deepcopy(BEGAN)
    *path, last = name.split("/")
    place = config
    for part in path:
        place = place[part] if part in place else place["init_args"][part]
    (place if last in place or "init_args" not in place else place["init_args"])[last] = value
    return config


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(BEGAN))
    return tmp_path / "run" / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("seed_everything", 7, "--seed_everything was 3, is 7"),
        ("trainer/precision", "bf16-mixed", "--trainer.precision was null, is bf16-mixed"),
        ("model/loss", "tlc", "--model.loss was plain, is tlc"),
        ("model/partition", "printed", "--model.partition was teacher_first, is printed"),
        ("model/judge_ckpt", "a.ckpt", "--model.judge_ckpt was null, is a.ckpt"),
        ("model/judge_phase/lr", 0.01, "--model.judge_phase.lr was 0.003, is 0.01"),
        ("model/judge_phase/lr_drops", [0.5], r"--model.judge_phase.lr_drops was null, is \[0.5\]"),
        ("model/judge/depths", [1, 2], r"--model.judge.depths was \[1, 1\], is \[1, 2\]"),
        ("model/judge/class_path", "kcm_lightning.small.CNN", "--model.judge was .*CKAN, is .*CNN"),
        ("model/judge", None, "--model.judge was .*, is null"),
        ("model/teacher/labels", "by_position", "--model.teacher.labels was .*cra.*, is by_position"),
        ("model/teacher/labels", {"cra": "crab", "ea": "eel"}, "--model.teacher.labels was .*, is .*eel.*"),
        ("data/batch_size", 8, "--data.batch_size was 16, is 8"),
    ],
)
def test_an_option_that_makes_another_fit_is_refused_and_named(checkpoint, option, value, said):
    with pytest.raises(InputError, match=rf"began with other options: {said}; leave them as they were"):
        check_options(checkpoint, with_option(option, value))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("model/judge_phase/epochs", 9),
        ("model/judge_phase/lr", "3e-3"),  # a text to YAML
        ("model/thresholds", {"judge": 0.1, "student": None}),
        ("model/cache", "elsewhere"),
        ("model/teacher/name", "moved/large"),  # its identity tells its weights
        ("data/root", "moved"),
        ("data/eval_batch_size", 5),
        ("trainer/max_epochs", None),
        ("trainer/logger", False),
        ("trainer/callbacks", [{"class_path": "RichProgressBar"}]),
        ("trainer/devices", 2),
    ],
)
def test_what_makes_no_other_fit_may_change(checkpoint, option, value):
    check_options(checkpoint, with_option(option, value))


def test_options_that_an_earlier_version_did_not_have_are_no_difference(checkpoint):
    now = with_option("model/judge_phase/warmup", 0.1)
    now["model"]["init_args"]["direction"] = "forward"
    check_options(checkpoint, now)


def test_a_checkpoint_outside_a_run_says_that_nothing_is_known(tmp_path):
    with pytest.warns(UserWarning, match=r"nothing is known of the options that .*some.ckpt was trained"):
        check_options(tmp_path / "some.ckpt", BEGAN)


@pytest.mark.slow
def test_a_run_goes_on_as_it_began_or_not_at_all(tiny_classifier, tmp_path):
    large = tmp_path / "large"
    shutil.copytree(tiny_classifier(10), large)
    words = ["--model.judge_phase.epochs=1", "--model.judge.width=8", "--model.judge.depths=[1]"]
    words += [f"--model.teacher.name={large}", "--model.student_phase.epochs=1", "--seed_everything=3"]
    words += ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1", "--trainer.logger=false"]
    kcm(tmp_path, "fit", "--config", "quickstart.yaml", *words, "--run=run")
    run = tmp_path / "run"
    before = {name: (run / name).read_bytes() for name in ("config.yaml", "data.json")}
    resume = ["fit", "--config", str(run / "config.yaml"), "--ckpt_path=last", "--run=run"]
    resume += ["--model.student_phase.epochs=2"]
    said = "--seed_everything was 3, is 7; --model.loss was logit_adjusted, is plain; leave them"
    with pytest.raises(AssertionError, match=rf"error: the run .*{said}") as error:
        kcm(tmp_path, *resume, "--seed_everything=7", "--model.loss=plain")
    assert "Traceback" not in str(error.value)
    weights = next(large.glob("*.safetensors"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])  # a bit of the last weight
    with pytest.raises(AssertionError, match=r"error: the large model.*not those that .*began with"):
        kcm(tmp_path, *resume)
    assert {name: (run / name).read_bytes() for name in before} == before
    weights.write_bytes(content)
    large.rename(tmp_path / "moved")  # another place, the same large model
    moved = f"--model.teacher.name={tmp_path / 'moved'}"
    kcm(tmp_path, *resume, moved)
    assert (run / "data.json").read_bytes() == before["data.json"]
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["seed_everything"] == 3 and saved["model"]["init_args"]["student_phase"]["epochs"] == 2
    # in a new folder, too, it goes on as it began
    elsewhere = ["fit", "--config", str(run / "config.yaml"), "--run=new"]
    elsewhere += [f"--ckpt_path={run / 'checkpoints' / 'last.ckpt'}", "--model.student_phase.epochs=3"]
    kcm(tmp_path, *elsewhere)
    assert torch.load(tmp_path / "new" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 3
    ids = [json.loads((tmp_path / name / "data.json").read_text())["run_id"] for name in ("run", "new")]
    assert len(ids[0]) == 16 and ids[0] == ids[1]
