"""Old names end in one line that says the new one, in a file, on the command line and in an old run."""

import pytest
import yaml

import kcm_lightning
from kcm_lightning.cli.configs import check_configs, shipped_configs
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.renamed_options import CLASSES, OPTIONS, check_names, check_words
from tests.run_commands import kcm

BRITISH = "optimi" + "ser"


@pytest.mark.parametrize(
    ("option", "new"),
    [
        (f"model.judge_phase.{BRITISH}", "model.judge_phase.optimizer"),
        ("model.student_phase.drops", "model.student_phase.lr_drops"),
        ("data.longest", "data.max_length"),
        ("data.bad_pictures", "data.bad_images"),
    ],
)
def test_an_old_option_names_the_new_one(option, new, tmp_path):
    assert option in OPTIONS
    said = rf"the option {option} is now called {new}$"
    with pytest.raises(InputError, match=f"the command line: {said}"):
        check_words(["fit", f"--{option}=x"])
    with pytest.raises(InputError, match=said):
        check_words(["fit", f"--{option.replace('.', '.init_args.', 1)}", "x"])
    part, *inner = option.split(".")
    tree = "x"
    for key in reversed(inner):
        tree = {key: tree}
    file = tmp_path / "old.yaml"
    file.write_text(yaml.safe_dump({part: {"class_path": "a.B", "init_args": tree}}))
    with pytest.raises(InputError, match=rf"old\.yaml: {said}"):
        check_configs(["fit", "--config", str(file)])
    with pytest.raises(AssertionError, match="error: the command line: the option"):
        kcm(tmp_path, "fit", "--config", "quickstart.yaml", f"--{option}=x")


@pytest.mark.parametrize("old", CLASSES)
def test_a_class_that_has_moved_is_named(old):
    for words in (["fit", "--model", old], ["fit", f"--model={old}"]):
        with pytest.raises(InputError, match=f"the class {old} is now called kcm_lightning.module"):
            check_words(words)
    with pytest.raises(InputError, match=f"x: the class {old} is now called"):
        check_names({"model": {"class_path": old}}, "x")


def test_an_old_run_folder_is_refused_in_one_line(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    (tmp_path / "data.json").write_text("{}")
    config = {"model": {"init_args": {"judge_phase": {BRITISH: "sgd"}}}, "data": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match=r"config\.yaml: the option .* is now called .*optimizer"):
        kcm_lightning.load(tmp_path)


def test_names_of_today_pass():
    for file in shipped_configs().glob("*.yaml"):
        check_names(yaml.safe_load(file.read_text()), file.name)
    check_words(["fit", "--data.category=drops", "--my.optimizer=longest", "--data.root", "longest"])
