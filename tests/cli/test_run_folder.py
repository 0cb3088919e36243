"""A run folder is one `fit`'s at a time, and a number is taken by a training that started."""

import pytest

from kcm_lightning.cli.run_folder import Claim, RunFolder
from kcm_lightning.utils.errors import InputError
from tests.run_commands import kcm


def test_two_fits_never_share_a_folder(tmp_path):
    first = Claim(tmp_path / "run")
    with pytest.raises(InputError, match="another fit is at work"):
        Claim(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").touch()  # its training has started
    first.give_back()
    assert (tmp_path / "run" / "config.yaml").is_file()
    Claim(tmp_path / "run").give_back()


def test_a_number_is_free_again_where_nothing_was_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = RunFolder(tmp_path / "mine.yaml")
    path = runs.fresh()
    claim = Claim(path)
    (path / "events").touch()
    claim.give_back()
    assert not path.exists() and runs.fresh() == path


def test_an_empty_number_never_hides_the_last_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs = RunFolder(tmp_path / "mine.yaml")
    trained = runs.fresh()
    (trained / "checkpoints").mkdir()
    (trained / "checkpoints" / "last.ckpt").touch()
    runs.fresh()  # of a `fit` that was killed before it trained
    assert runs.existing("last.ckpt") == trained
    assert capsys.readouterr().out == f"run: {trained}\n"
    started = runs.fresh()
    (started / "config.yaml").touch()
    assert runs.existing("last.ckpt") == trained
    assert f"{started} has no checkpoint last.ckpt: taking {trained}" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"no checkpoint last\.ckpt in"):
        RunFolder(None, str(started)).existing("last.ckpt")


def test_it_says_which_run_a_command_without_one_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs = RunFolder(tmp_path / "mine.yaml")
    for path in (runs.fresh(), runs.fresh()):
        (path / "checkpoints").mkdir()
        (path / "checkpoints" / "best.ckpt").touch()
    assert runs.existing("best.ckpt") == path
    assert capsys.readouterr().out == f"run: {path}, the newest of 2\n"
    (path / "config.yaml").touch()
    RunFolder(path / "config.yaml").existing("best.ckpt")
    assert not capsys.readouterr().out  # it was named
    monkeypatch.setenv("LOCAL_RANK", "1")
    runs.existing("best.ckpt")
    assert not capsys.readouterr().out


@pytest.mark.parametrize("holds", ["checkpoints/last.ckpt", "results.json"])
def test_a_new_run_is_not_mixed_with_another_one(tmp_path, holds):
    (tmp_path / holds).parent.mkdir(exist_ok=True)
    (tmp_path / holds).touch()
    with pytest.raises(InputError, match="already holds"):
        RunFolder(None, str(tmp_path)).fresh()


@pytest.mark.parametrize("holds", ["config.yaml", "data.json", "model.safetensors", "docs/a.md"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, holds):
    (tmp_path / holds).parent.mkdir(exist_ok=True)
    (tmp_path / holds).write_text("mine")
    with pytest.raises(InputError, match="which is of no run: name an empty or a new folder"):
        RunFolder(None, str(tmp_path)).fresh()
    assert (tmp_path / holds).read_text() == "mine"


def test_a_fit_that_was_killed_before_it_trained_is_begun_again(tmp_path):
    for name in (
        ".fit.lock",
        "config.yaml",
        "fit.json",
        "data.json",
        "events.out.tfevents.1",
        "hparams.yaml",
    ):
        (tmp_path / name).touch()
    assert RunFolder(None, str(tmp_path)).fresh() == tmp_path


def test_an_empty_folder_of_the_user_is_kept_where_a_fit_fails(tmp_path):
    (tmp_path / "mine").mkdir()
    Claim(tmp_path / "mine").give_back()
    assert (tmp_path / "mine").is_dir()


@pytest.mark.parametrize("left", ["checkpoints", "fit.json"])
def test_a_run_is_known_by_what_it_has_left(tmp_path, left):
    """Also one without checkpoints: no other run stands for it."""
    (tmp_path / "nock").mkdir()
    (tmp_path / "nock" / left).mkdir()
    runs = RunFolder(tmp_path / "nock" / "config.yaml")
    assert runs.path == tmp_path / "nock"
    with pytest.raises(InputError, match=r"no checkpoint best\.ckpt in .*nock"):
        runs.existing("best.ckpt")


def test_a_fit_that_fails_on_its_options_takes_no_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = ["--model.judge.num_classes=7", f"--model.teacher.name={tmp_path}"]
    with pytest.raises(AssertionError, match="error: "):
        kcm(tmp_path, "fit", "--config", "quickstart.yaml", *wrong)
    assert not list((tmp_path / "runs").rglob("config.yaml"))
    assert not (tmp_path / "runs" / "quickstart" / "0").exists()


def test_runs_go_where_the_trainer_s_root_says(tmp_path):
    assert RunFolder(tmp_path / "mine.yaml", root=tmp_path / "all").fresh() == tmp_path / "all" / "mine" / "0"
