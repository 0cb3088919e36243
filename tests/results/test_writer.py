"""Results name the data, the large model and the checkpoint that they are of, and are of no others."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from kcm_lightning.data import DigitsLT
from tests.run_commands import kcm

pytestmark = pytest.mark.slow


class Grown(DigitsLT):
    """The digits where some of what was trained on has moved into the test split."""

    def read(self) -> None:
        super().read()
        moved, train = self.positions["train"].split([100, len(self.positions["train"]) - 100])
        self.positions |= {"train": train, "test": torch.cat([self.positions["test"][:500], moved])}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_classifier) -> Path:
    folder = tmp_path_factory.mktemp("writer")
    short = ["--model.judge_phase.epochs=1", "--model.student_phase.epochs=0", "--model.judge.width=8"]
    short += [f"--model.teacher.name={tiny_classifier(10)}", "--model.judge.depths=[1]", "--run", "run"]
    kcm(folder, "fit", "--config", "quickstart.yaml", *short, f"--model.cache={folder / 'cache'}")
    return folder / "run"


def results_of(run: Path, *words: str) -> dict:
    """The newest results of a run after a test with some options."""
    kcm(run.parent, "test", "--config", str(run / "config.yaml"), *words)
    files = sorted(run.rglob("results.json"), key=lambda file: file.stat().st_mtime_ns)
    return json.loads(files[-1].read_text())


def test_results_name_what_they_are_of(trained):
    found = results_of(trained)
    checkpoint = (trained / "checkpoints" / "best.ckpt").read_bytes()
    assert found["checkpoint"] == "best.ckpt"
    assert found["checkpoint_sha256"] == hashlib.sha256(checkpoint).hexdigest()[:16]
    kept = json.loads((trained / "data.json").read_text())
    assert found["data"]["splits"] == kept["fingerprint"]
    names = [str(number) for number in range(10)]
    digest = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
    assert found["data"]["class_names"] == {"count": 10, "sha256": digest}
    assert found["large_model_identity"] == kept["large_model"] and "ImageClassifier" in kept["large_model"]
    assert "fitted_with" not in found


def test_another_large_model_under_the_same_name_is_told(trained, tmp_path, tiny_classifier):
    name = yaml.safe_load((trained / "config.yaml").read_text())["model"]["init_args"]["teacher"]["init_args"]
    other = tmp_path / "classifier"
    shutil.copytree(name["name"], other)
    weights = next(other.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-2] ^= 1  # a bit of the last weight
    weights.write_bytes(bytes(content))
    found = results_of(trained, f"--model.teacher.name={other}")
    kept = json.loads((trained / "data.json").read_text())
    assert found["large_model_identity"] != kept["large_model"] == found["fitted_with"]["large_model"]


def test_other_training_data_at_the_test_are_told(trained):
    found = results_of(trained, "--data.imbalance=5", "--model.thresholds.judge=0.5")
    then = json.loads((trained / "data.json").read_text())["fingerprint"]["train"]
    said = found["fitted_with"]["data.splits.train"]
    assert said == f"{then['samples']} samples, {then['sha256']}"
    assert found["data"]["splits"]["train"] != then and set(found["fitted_with"]) == {
        "data.imbalance",
        "data.splits.train",
    }


@pytest.mark.parametrize("command", ["test", "calibrate", "validate", "predict"])
def test_weights_of_another_model_are_refused_by_every_command(trained, command):
    others = ["--model.judge.grid=1", "--model.judge.order=3"]
    with pytest.raises(AssertionError, match=r"error: .*best.ckpt is of another .*judge.grid was 3, is 1"):
        kcm(trained.parent, command, "--config", str(trained / "config.yaml"), *others)


def test_a_fit_goes_on_with_the_model_and_the_data_it_began_with(trained, tmp_path):
    config = ["--config", str(trained / "config.yaml"), "--model.judge_phase.epochs=2"]
    for words, said in (
        (["--model.judge.grid=1", "--model.judge.order=3"], "--model.judge.grid was 3, is 1"),
        (["--data.imbalance=5"], "the data have changed since .*run began"),
    ):
        with pytest.raises(AssertionError, match=rf"error: .*{said}"):
            kcm(trained.parent, "fit", *config, *words, "--ckpt_path", "last")
    judge = f"--model.judge_ckpt={trained / 'checkpoints' / 'best.ckpt'}"
    with pytest.raises(AssertionError, match=r"error: .*--model.judge.grid was 3, is 1"):
        kcm(tmp_path, "fit", *config, judge, "--model.judge.grid=1", "--model.judge.order=3", "--run", "new")
    grown = "--data=tests.results.test_writer.Grown"
    with pytest.raises(AssertionError, match=r"judge_ckpt: .* was trained on 100 of 600 test samples"):
        kcm(tmp_path, "fit", *config, judge, grown, "--run", "new")


def test_what_was_trained_on_is_not_tested_on(trained):
    with pytest.raises(AssertionError, match=r"100 of 600 test samples \(train 100\) were used in it"):
        results_of(trained, "--data=tests.results.test_writer.Grown")


def test_a_checkpoint_with_a_payload_is_one_line_in_every_command(trained, tmp_path):
    class Payload:
        def __reduce__(self):
            return exec, ("raise SystemExit('it ran')",)

    bad = tmp_path / "bad.ckpt"
    torch.save({"state_dict": {}, "payload": Payload()}, bad)
    said = r"error: .*bad.ckpt' holds more than tensors and plain values, exec"
    config = ["--config", str(trained / "config.yaml"), "--run", str(tmp_path / "run")]
    for command in ("test", "calibrate", "predict", "fit"):
        with pytest.raises(AssertionError, match=said) as found:
            kcm(tmp_path, command, *config, "--ckpt_path", str(bad))
        assert "Traceback" not in str(found.value)
    with pytest.raises(AssertionError, match=said):
        kcm(tmp_path, "fit", *config, f"--model.judge_ckpt={bad}")
