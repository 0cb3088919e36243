"""Where figures come from: never from a stranger's repository."""

import subprocess

import yaml

from kcm_lightning.results import provenance


def test_only_a_run_s_own_configuration_is_looked_at(tmp_path):
    config = {
        "seed_everything": 0,
        "model": {"loss": "plain"},
        "data": {"x": [1]},
        "trainer": {"max_epochs": None},
    }
    (tmp_path / "config.yaml").write_text("a stranger's")
    assert provenance._fitted_with(tmp_path / "weights" / "best.ckpt", config) == {}
    assert provenance._fitted_with(None, config) == {}
    other = config | {
        "model": {"loss": "tlc", "thresholds": {"judge": 0.1}},
        "trainer": {"max_epochs": 1, "devices": 3},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(other))
    fitted = provenance._fitted_with(tmp_path / "checkpoints" / "best.ckpt", config)
    assert fitted == {"model.loss": "tlc", "trainer.max_epochs": 1}


def test_callbacks_that_have_a_say_in_the_training_are_told():
    stopping = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"patience": 3}}
    said = 'EarlyStopping {"patience": 3}'
    looks_on = [{"class_path": f"x.{name}"} for name in ("RichProgressBar", "ModelCheckpoint")]
    assert provenance.training_callbacks({"callbacks": [*looks_on, stopping]}) == said
    assert provenance.training_callbacks({"callbacks": stopping}) == said
    assert provenance.training_callbacks({"callbacks": looks_on}) is None
    assert provenance.training_callbacks({}) is None


def test_the_commit_is_of_the_repository_that_holds_the_code(tmp_path, monkeypatch):
    def git(*words: str) -> str:
        own = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", *words]
        return subprocess.run(own, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip()

    code = tmp_path / "site-packages" / "provenance.py"
    code.parent.mkdir()
    code.touch()
    git("init")
    git("commit", "--allow-empty", "-m", "a user's own work")
    monkeypatch.setattr(provenance, "__file__", str(code))
    assert provenance._commit() is None
    git("add", ".")
    git("commit", "-m", "with the code")
    assert provenance._commit() == git("rev-parse", "--short=12", "HEAD")
    code.write_text("changed")
    assert provenance._commit().endswith("-dirty")
