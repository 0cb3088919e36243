"""Where figures come from: never from a stranger's repository."""

import subprocess

from kcm_lightning.results import provenance


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
