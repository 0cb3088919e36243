"""Event files of test and calibrate, and the command that shows them."""

from pathlib import Path

import pytest
from PIL import Image

from kcm_lightning.results.tensorboard import figures_of_test, leave_for_tensorboard, tensorboard_command
from kcm_lightning.utils.errors import InputError
from tests.tensorboard_tags import events_in


def test_an_event_file_takes_the_place_of_the_same_command_s_alone(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "curve.png")
    images = {"test/curve": tmp_path / "curve.png", "test/none": tmp_path / "none.png"}
    for value in (0.1, 0.2):
        leave_for_tensorboard(tmp_path, "test", scalars={"test/a": value}, texts={"t": "# T"}, images=images)
        leave_for_tensorboard(tmp_path, "a.test2", scalars={"b": value}, texts={})
    events = events_in(tmp_path)
    assert [event.value for event in events.Scalars("test/a")] == [pytest.approx(0.2)]
    assert events.Tags()["images"] == ["test/curve"]
    assert (events.Images("test/curve")[0].width, events.Images("test/curve")[0].height) == (40, 30)
    assert len(list(tmp_path.glob("events.*"))) == 2


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written to"):
        leave_for_tensorboard(tmp_path / "file", "test", scalars={"a": 1.0}, texts={})


def test_what_is_not_known_has_no_scalar():
    found = {
        "lm_rate": {"called": 0.5, "answered": 0.4},
        "scores": {"kcm": {"CIDEr": 0.9, "METEOR": None}},
        "kcm_against_teacher": {"CIDEr": {"difference": -0.1, "low": -0.2, "high": 0.0}},
        "large_model": {"money_per_1000_samples": 0.25},
    }
    assert figures_of_test(found) == {
        "test/lm_rate_called": 0.5,
        "test/lm_rate_answered": 0.4,
        "test/kcm_CIDEr": 0.9,
        "test/kcm_minus_teacher_CIDEr": -0.1,
        "test/cost_per_1000_samples": 0.25,
    }


@pytest.mark.parametrize(
    ("run", "command"),
    [
        ("runs/quickstart/0", "--logdir runs"),
        ("/data/my runs/quickstart/12", "--logdir '/data/my runs'"),
        ("quickstart/0", "--logdir_spec quickstart/0:quickstart/0"),
        ("try1", "--logdir_spec try1:try1"),
        ("a, b/try1", "--logdir 'a, b'"),
    ],
)
def test_the_command_names_the_run(run, command):
    assert tensorboard_command(Path(run)) == f"tensorboard {command}"
