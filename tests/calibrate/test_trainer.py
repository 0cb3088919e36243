"""`calibrate` as a command: the newest thresholds, what they are of, and where they may be used."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

import kcm_lightning
from kcm_lightning.utils.errors import InputError
from tests.run_commands import kcm, results_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_classifier) -> Path:
    """A short run in a folder whose name looks like markup."""
    folder = tmp_path_factory.mktemp("calibrate")
    words = ["--model.judge_phase.epochs=1", "--model.student_phase.epochs=1", "--model.judge.width=8"]
    words += [f"--model.teacher.name={tiny_classifier(10)}", "--model.judge.depths=[1]"]
    words += ["--trainer.limit_train_batches=2", "--trainer.logger=false", "--run=runs/a[/b]"]
    kcm(folder, "fit", "--config", "quickstart.yaml", *words)
    return folder / "runs" / "a[" / "b]"


def command(name: str, run: Path, *words: str) -> str:
    return kcm(run.parent, name, "--config", str(run / "config.yaml"), *words)


def test_the_newest_thresholds_are_used_and_say_what_they_are_of(run):
    said = command("calibrate", run, "--target=lm_rate=.8")
    assert f"use them with a second --config {run / 'calibrated.yaml'}" in said  # brackets and all
    command("calibrate", run, "--target=lm_rate=0.2")
    report = json.loads((run / "calibrated.json").read_text())
    checkpoint = (run / "checkpoints" / "best.ckpt").read_bytes()
    assert report["target"] == "lm_rate=0.2"
    assert report["checkpoint_sha256"] == hashlib.sha256(checkpoint).hexdigest()[:16]
    known = json.loads((run / "data.json").read_text())
    assert report["run_id"] == known["run_id"] and report["large_model_identity"] == known["large_model"]
    assert report["data"]["val"] == known["fingerprint"]["val"]
    tested = results_in(run.parent, command("test", run, "--config", str(run / "calibrated.yaml")))
    found = json.loads((tested / "results.json").read_text())
    assert found["calibrated"]["target"] == "lm_rate=0.2" and found["lm_rate"]["called"] < 0.4
    assert found["calibrated"]["checkpoint_sha256"] == found["checkpoint_sha256"]

    fewer = ["--target=lm_rate=0.2", "--data.eval_batch_size=20", "--trainer.limit_val_batches=1"]
    said = command("calibrate", run, *fewer)
    assert "note: " in said and "was another one (lm_rate=0.2 on 150 samples), which is kept as" in said
    samples = {path.name: json.loads(path.read_text())["samples"] for path in run.glob("calibrated*.json")}
    assert samples.pop("calibrated.json") == samples.pop("calibrated-lm_rate-0.2.json") == 19
    assert samples.pop("calibrated-lm_rate-0.8.json") == 150 and list(samples.values()) == [150]

    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "nothing is written" in command(
        "calibrate", run, "--target=lm_rate=0.1", "--trainer.fast_dev_run=true"
    )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_thresholds_of_another_checkpoint_are_told_and_of_another_run_refused(run, tmp_path):
    goes_on, other = tmp_path / "goes_on", tmp_path / "other"
    shutil.copytree(run, goes_on)
    command("calibrate", run, "--target=lm_rate=0.5")
    gates = shutil.copy(run / "calibrated.yaml", tmp_path / "gates.yaml")
    shutil.copy(run / "calibrated.json", tmp_path / "gates.json")
    best = goes_on / "checkpoints" / "best.ckpt"
    torch.save(
        torch.load(best, weights_only=True) | {"epoch": 9}, best
    )  # as a resumed run leaves another one
    told = "its thresholds were chosen for another checkpoint"
    with pytest.warns(UserWarning, match=told):
        command("test", goes_on, "--config", gates)
    with pytest.warns(UserWarning, match=told):
        command("predict", goes_on, "--config", gates)
    with pytest.warns(UserWarning, match=told):
        kcm_lightning.load(goes_on, calibrated=gates)
    shutil.copytree(run, other)
    known = json.loads((other / "data.json").read_text())
    (other / "data.json").write_text(json.dumps(known | {"run_id": "of another run"}))
    shutil.copy(goes_on / "checkpoints" / "best.ckpt", other / "checkpoints" / "best.ckpt")
    refused = "its thresholds were chosen for another run"
    with pytest.raises(AssertionError, match=rf"error: .*gates.yaml: {refused}") as error:
        command("test", other, "--config", gates)
    assert "Traceback" not in str(error.value)
    with pytest.raises(InputError, match=refused):
        kcm_lightning.load(other, calibrated=gates)
    by_hand = ["--model.thresholds.judge=0.5", "--model.thresholds.student=0.4"]
    command("test", other, "--config", gates, *by_hand)  # none of them is in use
