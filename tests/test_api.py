"""A trained run from Python."""

import json
import os
import shutil
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
import yaml

import kcm_lightning
from kcm_lightning.api import Run
from kcm_lightning.core.fusion import Fusion
from kcm_lightning.core.learned_gate import LearnedGate
from kcm_lightning.core.predictions import Query
from kcm_lightning.data import DigitsLT
from kcm_lightning.utils.errors import InputError
from tests.run_commands import kcm

pytestmark = pytest.mark.slow
GATES = {
    "thresholds": {"judge": 0.7, "student": None, "teacher": 0.5},
    "temperatures": {"judge": 2.0, "student": 1.0, "teacher": 1.0},
}


@pytest.mark.parametrize(
    ("precision", "mixed"), [("bf16-mixed", True), ("bf16", True), ("16", True), ("32-true", False)]
)
def test_precision_is_that_of_the_trainer_by_any_of_its_names(precision, mixed):
    assert Run(L.LightningModule(), L.LightningDataModule(), [], precision).autocast()._enabled is mixed


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_classifier) -> Path:
    """The folder of a run of one epoch."""
    folder = tmp_path_factory.mktemp("api")
    short = ["--model.judge_phase.epochs=1", "--model.student_phase.epochs=0", "--model.judge.width=8"]
    short += [f"--model.teacher.name={tiny_classifier(10)}", "--model.judge.depths=[1]"]
    kcm(folder, "fit", "--config", "quickstart.yaml", *short, "--model.cache=null", "--run", "run")
    return folder / "run"


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def calibrated(folder: Path, **settings) -> Path:
    """A file as `calibrate` writes it."""
    file = folder / "calibrated.yaml"
    file.write_text("# lm_rate=0.6\n" + yaml.safe_dump({"model": {"init_args": settings}}))
    return file


def test_gates_out_of_a_file_of_calibrate(run):
    file = calibrated(run, **GATES)
    loaded = kcm_lightning.load(run, calibrated=file).module
    assert vars(loaded.thresholds) == GATES["thresholds"]
    assert vars(loaded.temperatures) == GATES["temperatures"]
    own = kcm_lightning.load(run).module.thresholds
    calibrated(run, thresholds={"judge": 0.7})  # what it does not say stays as it is in the run
    assert vars(kcm_lightning.load(run, calibrated=file).module.thresholds) == vars(own) | {"judge": 0.7}


def test_a_learned_gate_and_a_fusion_out_of_a_file_of_calibrate(run):
    """Answers have the distribution of all models together; null and confidence switch them off."""
    weights = {"teacher": 0.5, "judge": 1.5, "student": 0.0, "class_count": -0.2}
    gate = {"intercept": -1.0, "student_margin": 0.3}
    closed = {"judge": None, "student": None, "teacher": 0.5}
    file = calibrated(run, thresholds=closed, gate=gate, fusion=weights)
    loaded = kcm_lightning.load(run, calibrated=file)
    assert loaded.module.gate == LearnedGate(**gate) and loaded.module.fusion == Fusion(**weights)
    data = DigitsLT()
    data.setup()
    images = data.images[data.positions["test"][:8]]
    answers = loaded.answer(images)
    batch = data.batch_of(images)
    log_probs = loaded.module.judge(batch["small"]).log_softmax(-1)
    large = loaded.module.teacher.distribution(Query(images))[:, 0].log()
    wanted = (0.5 * large + 1.5 * log_probs - 0.2 * data.class_counts.log()).softmax(-1)
    assert {route.name for route in answers.route} == {"TEACHER"}
    torch.testing.assert_close(answers.distribution, wanted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(answers.confidence, wanted.amax(-1), atol=1e-5, rtol=1e-4)
    assert torch.equal(answers.prediction, wanted.argmax(-1))
    off = kcm_lightning.load(run, calibrated=calibrated(run, gate="confidence", fusion=None)).module
    assert off.gate == "confidence" and off.fusion is None


def test_a_run_that_does_not_know_its_class_counts_has_no_learned_gate(run):
    """Runs of earlier versions do not."""
    known = json.loads((run / "data.json").read_text())
    del known["class_counts"]
    (run / "data.json").write_text(json.dumps(known))
    kcm_lightning.load(run)
    with pytest.raises(InputError, match="has no class_counts, which a learned gate and a fusion need"):
        kcm_lightning.load(run, calibrated=calibrated(run, fusion={"teacher": 1.0, "judge": 0.5}))


def test_nothing_that_a_file_of_calibrate_names_is_imported(run, monkeypatch):
    """Neither by Python nor by the command line: the module would leave a trace."""
    (run / "planted.py").write_text("import pathlib\npathlib.Path(__file__).with_name('trace').touch()\n")
    monkeypatch.syspath_prepend(str(run))
    planted = {"class_path": "planted.Thing"}
    for tree in (
        {"model": {"init_args": GATES | {"teacher": planted}}},
        {"model": planted | {"init_args": GATES}},
        {"model": {"init_args": GATES}, "data": planted},
        {"model": {"init_args": {"thresholds": planted}}},
        {"model": {"init_args": {"thresholds": {"judge": planted}}}},
        {"trainer": {"callbacks": [planted]}},
    ):
        (run / "calibrated.yaml").write_text(yaml.safe_dump(tree))
        with pytest.raises(InputError, match=r"calibrated.yaml"):
            kcm_lightning.load(run, calibrated=run / "calibrated.yaml")
        words = ["test", "--config", str(run / "config.yaml"), "--config", str(run / "calibrated.yaml")]
        with pytest.raises(AssertionError, match=r"error: .*calibrated.yaml"):
            kcm(run, *words)
    assert not (run / "trace").exists() and "planted" not in sys.modules


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- " * 5_000, "nested too deeply"),
        ("model: {init_args: {thresholds: {judge: 1.5}}}", r"judge=1.5 is outside \[0, 1\]"),
        ("model: {init_args: {thresholds: {judge: .nan}}}", r"judge=nan is outside \[0, 1\]"),
        ("model: {init_args: {temperatures: {judge: 1e-300}}}", "from 0.001 to 1000"),
        ("model: {init_args: {temperatures: {judge: null}}}", "must be a finite number"),
        ("model: {init_args: {temperatures: {judge: cold}}}", "'cold' is no number"),
        ("model: {init_args: {thresholds: {judge: yes}}}", "is no number"),
        ("model: {init_args: {thresholds: 0.5}}", "holds no names with numbers"),
        ("model: {init_args: {thresholds: {judge: 0.1, judge: 0.9}}}", "is there twice"),
        ("model: {init_args: {thresholds: {jugde: 0.1}}}", "holds model.init_args.thresholds.jugde"),
        ("model: {init_args: {loss: plain}}", "holds model.init_args.loss"),
        ("model: 3", "holds no thresholds"),
        ("", "holds no thresholds"),
    ],
)
def test_a_file_of_calibrate_that_is_none_is_one_line(run, content, said):
    (run / "calibrated.yaml").write_text(content)
    with pytest.raises(InputError, match=said) as found:
        kcm_lightning.load(run, calibrated=run / "calibrated.yaml")
    assert "\n" not in str(found.value)


def changed(run: Path, **options) -> None:
    """Changes options of the small model in a run's configuration."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["init_args"]["judge"]["init_args"] |= options
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def test_a_checkpoint_of_another_model_is_refused(run):
    changed(run, grid=1, order=3)  # as many coefficients as 3 and 1
    with pytest.raises(InputError, match=r"--model.judge.grid was 3, is 1; --model.judge.order was 1, is 3"):
        kcm_lightning.load(run)


def test_classes_in_another_order_are_refused(run):
    text = (run / "data.json").read_text()
    assert '"3"' in text and '"4"' in text
    swapped = text.replace('"3"', '"x"').replace('"4"', '"3"').replace('"x"', '"4"')
    (run / "data.json").write_text(swapped)
    with pytest.raises(InputError, match=r"classes are in another order \(class 3 was '3', is '4'\)"):
        kcm_lightning.load(run)


def test_class_names_that_are_numbers_are_those_of_the_run(run):
    """As own data have them: `fit` and `test` worked, and `load` said that there were none."""
    path, checkpoint = run / "data.json", run / "checkpoints" / "best.ckpt"
    known, weights = json.loads(path.read_text()), torch.load(checkpoint, weights_only=True)
    known["class_names"] = weights["made_of"]["classes"] = [int(name) for name in known["class_names"]]
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    before = kcm_lightning.load(run).answer(images)
    path.write_text(json.dumps(known))
    torch.save(weights, checkpoint)
    after = kcm_lightning.load(run).answer(images)
    assert torch.equal(before.prediction, after.prediction)
    assert before.label == after.label == [str(number) for number in after.prediction.tolist()]
    for odd in (None, ["0"], {}):
        path.write_text(json.dumps(known | {"class_names": [odd, *known["class_names"][1:]]}))
        with pytest.raises(InputError, match=r"of its class_names .* is neither text nor number"):
            kcm_lightning.load(run)


def test_an_older_checkpoint_is_loaded_and_said_to_be_unchecked(run):
    path = run / "checkpoints" / "best.ckpt"
    older = torch.load(path, weights_only=True)
    del older["made_of"]
    torch.save(older, path)
    with pytest.warns(UserWarning, match="does not say what it is of"):
        kcm_lightning.load(run)
    changed(run, width=16)
    with pytest.warns(UserWarning), pytest.raises(InputError, match="a judge with other options"):
        kcm_lightning.load(run)


class Payload:
    def __reduce__(self):
        return os.system, ("false",)


def damaged_weights(run: Path) -> None:
    path = run / "checkpoints" / "best.ckpt"
    whole = torch.load(path, weights_only=True)
    whole["state_dict"]["judge.classifier.bias"][0] = float("nan")
    torch.save(whole, path)


DAMAGE = {
    "no run": (lambda run: (run / "data.json").unlink(), "holds no run: .*data.json is missing"),
    "payload": (
        lambda run: torch.save({"state_dict": {}, "x": Payload()}, run / "checkpoints" / "best.ckpt"),
        "more than tensors and plain values, posix.system",
    ),
    "cut checkpoint": (
        lambda run: os.truncate(run / "checkpoints" / "best.ckpt", 3_000),
        "is no checkpoint of a run, or cut off",
    ),
    "weights that are no numbers": (damaged_weights, r"not finite \(judge.classifier.bias\)"),
    "deep configuration": (
        lambda run: (run / "config.yaml").write_text("{a: " * 5_000),
        "config.yaml is nested too deeply",
    ),
    "configuration without a model": (
        lambda run: (run / "config.yaml").write_text("data: {}\ntrainer: {}\n"),
        "is no configuration of a run: it has no model",
    ),
    "configuration of nothing": (
        lambda run: (run / "config.yaml").write_text("model: {class_path: x.Y}\ndata: {}\ntrainer: {}\n"),
        "config.yaml: ",
    ),
    "data.json without classes": (lambda run: (run / "data.json").write_text("{}"), "has no class_names"),
    "data.json cut off": (lambda run: os.truncate(run / "data.json", 30), "data.json is no JSON"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_one_line(run, damage):
    make, said = DAMAGE[damage]
    make(run)
    with pytest.raises(InputError, match=said) as found:
        kcm_lightning.load(run)
    assert "\n" not in str(found.value)


def test_a_device_that_is_not_there_is_one_line(run):
    with pytest.raises(InputError, match="device='nowhere' is none of this machine"):
        kcm_lightning.load(run, device="nowhere")
