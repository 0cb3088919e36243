"""Configurations stand before every other option, wherever they are given."""

import sys

import pytest

from kcm_lightning.cli.configs import check_configs, find_configs, shipped_configs
from kcm_lightning.utils.errors import InputError
from tests.run_commands import kcm


def test_the_order_of_options_never_matters(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("ckpt_path: null\n")
    shipped = str(shipped_configs() / "quickstart.yaml")
    wanted = ["fit", "--config", shipped, "--config", str(file), "--ckpt_path", "last", "--run=here"]
    spellings = [
        ["fit", "--config", "quickstart.yaml", "--config", str(file), "--ckpt_path", "last", "--run=here"],
        ["fit", "--ckpt_path", "last", "--config=quickstart.yaml", "--run=here", "-c", str(file)],
        ["fit", "--ckpt_path", "last", "--run=here", "--config", "quickstart.yaml", f"--config={file}"],
        ["fit", "--ckpt_path", "last", "-cquickstart.yaml", "--run=here", f"-c={file}"],
    ]
    for words in spellings:
        assert find_configs(words) == wanted


def test_a_missing_value_is_left_to_the_parser():
    assert find_configs(["fit", "--config"]) == ["fit", "--config"]


@pytest.mark.parametrize("word", ["--conf", "--confi=", "--ckpt", "--model.judge_ph.epochs=1"])
def test_options_have_one_spelling(tmp_path, word):
    """A shortened --config would be read too late, and a shortened option be taken for another one."""
    words = [word, "quickstart.yaml"] if "=" not in word else [word + "quickstart.yaml"]
    with pytest.raises(AssertionError, match=r"error: .*there is no option --"):
        kcm(tmp_path, "fit", "--config", "quickstart.yaml", *words, "--trainer.fast_dev_run=true")


@pytest.mark.parametrize("place", ["name", "other_target", "first_line", "json"])
def test_a_file_of_calibrate_holds_numbers_alone_under_any_name(tmp_path, monkeypatch, place):
    """No class that such a file names is imported."""
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "model:\n  init_args:\n    teacher:\n      class_path: evil_module.Evil\n"
    names = {"name": "calibrated.yaml", "other_target": "calibrated-lm_rate-0.3.yaml"}
    file = tmp_path / names.get(place, "mine.yaml")
    first = "# lm_rate=0.3, chosen on 150 samples\n" if place == "first_line" else ""
    file.write_text(first + text)
    if place == "json":
        file.with_suffix(".json").write_text('{"target": "lm_rate=0.3", "thresholds": {}}')
    for words in (["--config", str(file)], [f"-c{file}"], [f"--config={file}"]):
        with pytest.raises(InputError, match=r"holds model\.init_args\.teacher"):
            check_configs(find_configs(["test", "--config", "quickstart.yaml", *words]))
    assert "evil_module" not in sys.modules


def test_the_character_nul_is_refused_wherever_it_stands(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text('trainer: {default_root_dir: "a\\0b"}\n')
    with pytest.raises(InputError, match=r"trainer\.default_root_dir holds the character NUL"):
        check_configs(find_configs(["fit", "--config", str(file)]))
    file.write_text('data: {init_args: {names: ["a", "b\\0"]}}\n')
    with pytest.raises(InputError, match=r"data\.init_args\.names holds the character NUL"):
        check_configs(find_configs(["fit", "--config", str(file)]))
