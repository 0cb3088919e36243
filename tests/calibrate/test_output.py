"""`calibrate` loses no thresholds: those of another target, checkpoint or number of samples are kept."""

import json

import pytest
import yaml

from kcm_lightning.calibrate.output import make_folder, output_path, write
from kcm_lightning.calibrate.target import Target
from kcm_lightning.results.calibrated_file import read_calibrated
from kcm_lightning.utils.errors import InputError

TARGET = Target("lm_rate", 0.6)


def report(target="lm_rate=0.6", samples=150, student=0.7, checkpoint="aa", **more) -> dict:
    thresholds = {"judge": 0.9, "student": student, "teacher": 0.98}
    found = {"target": target, "samples": samples, "thresholds": thresholds}
    return found | {"temperatures": {"judge": 1.5}, "checkpoint_sha256": checkpoint} | more


def leave(run, **facts) -> str:
    """What a `calibrate` into a run folder leaves, and says."""
    own = report(**facts)
    settings = yaml.safe_dump({"model": {"init_args": {"thresholds": own["thresholds"]}}})
    path = output_path(run, None, Target.parse(own["target"]))
    return write(own, settings, path, newest=run / "calibrated.yaml")


def kept(run) -> dict[str, tuple]:
    """Target, samples, checkpoint and threshold of each pair of files."""
    found = {}
    for path in run.glob("*.yaml"):
        own = json.loads(path.with_suffix(".json").read_text())
        student = read_calibrated(path)["thresholds"]["student"]
        assert student == own["thresholds"]["student"]  # the two are of one `calibrate`
        found[path.name] = (own["target"], own["samples"], own["checkpoint_sha256"], student)
    return found


def test_the_newest_has_one_name_and_every_target_its_own(tmp_path):
    assert leave(tmp_path) == ""
    said = leave(tmp_path, target="lm_rate=0.3", student=0.5)
    assert "lm_rate=0.6 on 150 samples" in said and said.endswith("calibrated-lm_rate-0.6.yaml")
    sixty, thirty = ("lm_rate=0.6", 150, "aa", 0.7), ("lm_rate=0.3", 150, "aa", 0.5)
    names = {"calibrated-lm_rate-0.6.yaml": sixty, "calibrated-lm_rate-0.3.yaml": thirty}
    assert kept(tmp_path) == names | {"calibrated.yaml": thirty}
    assert leave(tmp_path).endswith("calibrated-lm_rate-0.3.yaml")
    assert kept(tmp_path) == names | {"calibrated.yaml": sixty}


@pytest.mark.parametrize(
    "other",
    [
        {"samples": 19, "student": 0.2},  # --trainer.limit_val_batches
        {"checkpoint": "bb"},  # resumed since
        {"student": 0.8},  # --trainer.precision, ...
        {"data": {"val": {"samples": 150, "sha256": "cc"}}},
        {"large_model_identity": "another one"},
    ],
)
def test_what_says_something_else_of_the_same_target_is_kept_and_said(tmp_path, other):
    leave(tmp_path)
    before = (tmp_path / "calibrated.yaml").read_bytes(), (tmp_path / "calibrated.json").read_bytes()
    said = leave(tmp_path, **other)
    assert "lm_rate=0.6 on 150 samples" in said
    (name,) = set(kept(tmp_path)) - {"calibrated.yaml", "calibrated-lm_rate-0.6.yaml"}
    assert said.endswith(name) and name.startswith("calibrated-lm_rate-0.6-")
    earlier = tmp_path / name
    assert (earlier.read_bytes(), earlier.with_suffix(".json").read_bytes()) == before
    again = leave(tmp_path, **other)  # it says the same: nothing more is kept
    assert again == "" and len(kept(tmp_path)) == 3


def test_a_file_that_a_user_has_changed_or_written_is_kept(tmp_path):
    leave(tmp_path)
    path = tmp_path / "calibrated.yaml"
    path.write_text(path.read_text().replace("0.7", "0.75"))
    assert "is kept as" in leave(tmp_path)
    (changed,) = tmp_path.glob("calibrated-lm_rate-0.6-*.yaml")
    assert read_calibrated(changed)["thresholds"]["student"] == 0.75
    path.write_text("mine: 1\n")
    path.with_suffix(".json").unlink()
    assert "(not calibrate's)" in leave(tmp_path)
    assert next(tmp_path.glob("calibrated-earlier-*.yaml")).read_text() == "mine: 1\n"


def test_a_calibrate_that_was_killed_between_its_two_files_loses_nothing(tmp_path):
    leave(tmp_path)
    new = report(student=0.1)
    (tmp_path / "calibrated.json").write_text(json.dumps(new))  # the YAML beside it is the earlier one
    leave(tmp_path, student=0.1)
    students = {read_calibrated(path)["thresholds"]["student"] for path in tmp_path.glob("*.yaml")}
    assert students == {0.7, 0.1}


def test_each_target_has_one_spelling(tmp_path):
    paths = {
        output_path(tmp_path, None, Target.parse(text))
        for text in ("lm_rate=.3", "lm_rate=0.30", "lm_rate=3e-1")
    }
    assert paths == {tmp_path / "calibrated-lm_rate-0.3.yaml"}
    (tmp_path / "mine.json").write_text(json.dumps(report(target="lm_rate=.30")))  # of an earlier version
    assert output_path(tmp_path, str(tmp_path / "mine.yaml"), Target("lm_rate", 0.3))


@pytest.mark.parametrize("name", ["config.yaml", "data.yaml"])
def test_files_of_others_are_refused(tmp_path, name):
    (tmp_path / "config.yaml").write_text("model: {}\n")
    (tmp_path / "data.json").write_text('{"class_names": ["a"]}')
    with pytest.raises(InputError, match="name another file"):
        output_path(tmp_path, str(tmp_path / name), TARGET)
    assert (tmp_path / "data.json").read_text() == '{"class_names": ["a"]}'


def test_a_named_file_of_another_target_is_refused_and_of_the_same_is_made_anew(tmp_path):
    path = tmp_path / "mine.yaml"
    write(report(), "model: {}\n", path)
    assert output_path(tmp_path, str(path), TARGET) == path
    with pytest.raises(InputError, match=r"did not make it for lm_rate=0\.5"):
        output_path(tmp_path, str(path), Target("lm_rate", 0.5))
    said = write(report(samples=19), "model: {}\n", path)
    assert len(list(tmp_path.glob("mine-lm_rate-0.6-*.json"))) == 1 and "on 150 samples" in said


def test_folders_of_a_named_file_are_made(tmp_path):
    path = output_path(tmp_path, str(tmp_path / "new" / "mine.yaml"), TARGET)
    assert not path.parent.exists()
    make_folder(path)
    assert path.parent.is_dir()
    with pytest.raises(InputError, match="the folder cannot be made"):
        (tmp_path / "file").write_text("")
        make_folder(tmp_path / "file" / "mine.yaml")


@pytest.mark.parametrize("name", ["gates.json", "gates"])
def test_only_a_yaml_is_written(tmp_path, name):
    with pytest.raises(InputError, match="YAML"):
        output_path(tmp_path, str(tmp_path / name), TARGET)
