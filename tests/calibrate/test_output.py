"""`calibrate` overwrites what it made itself for the same target, and nothing else."""

import json

import pytest

from kcm_lightning.calibrate.output import output_path
from kcm_lightning.utils.errors import InputError


def leave(path, target):
    """What an earlier `calibrate` leaves."""
    path.write_text("model: {}\n")
    path.with_suffix(".json").write_text(json.dumps({"target": target}))


def test_the_run_folder_keeps_what_was_chosen_for_each_target(tmp_path):
    first = output_path(tmp_path, None, "lm_rate=0.6")
    assert first == tmp_path / "calibrated.yaml"
    leave(first, "lm_rate=0.6")
    assert output_path(tmp_path, None, "lm_rate=0.6") == first
    other = output_path(tmp_path, None, "lm_rate=0.3")
    assert other == tmp_path / "calibrated-lm_rate-0.3.yaml"
    leave(other, "lm_rate=0.3")
    assert output_path(tmp_path, None, "lm_rate=0.3") == other


@pytest.mark.parametrize("name", ["config.yaml", "data.yaml"])
def test_files_of_others_are_refused(tmp_path, name):
    (tmp_path / "config.yaml").write_text("model: {}\n")
    (tmp_path / "data.json").write_text('{"class_names": ["a"]}')
    with pytest.raises(InputError, match="name another file"):
        output_path(tmp_path, str(tmp_path / name), "lm_rate=0.6")
    assert (tmp_path / "data.json").read_text() == '{"class_names": ["a"]}'


def test_a_named_file_of_another_target_is_refused_and_of_the_same_is_made_anew(tmp_path):
    leave(tmp_path / "mine.yaml", "lm_rate=0.6")
    assert output_path(tmp_path, str(tmp_path / "mine.yaml"), "lm_rate=0.6") == tmp_path / "mine.yaml"
    with pytest.raises(InputError, match=r"did not make it for lm_rate=0\.5"):
        output_path(tmp_path, str(tmp_path / "mine.yaml"), "lm_rate=0.5")


def test_folders_of_a_named_file_are_made(tmp_path):
    assert output_path(tmp_path, str(tmp_path / "new" / "mine.yaml"), "lm_rate=0.6").parent.is_dir()


@pytest.mark.parametrize("name", ["gates.json", "gates"])
def test_only_a_yaml_is_written(tmp_path, name):
    with pytest.raises(InputError, match="YAML"):
        output_path(tmp_path, str(tmp_path / name), "lm_rate=0.6")
