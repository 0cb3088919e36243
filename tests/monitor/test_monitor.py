"""`monitor` on made-up streams of predictions."""

import json

import numpy as np
import pytest

from kcm_lightning.cli.main import main
from kcm_lightning.monitor import monitor
from kcm_lightning.utils.errors import InputError


def interval(mean, half=0.01):
    return {"mean": mean, "low": mean - half, "high": mean + half}


@pytest.fixture
def run(tmp_path):
    """A run that was calibrated: scores are even, 60 % are kept, 5 % of the answers differ."""
    report = {
        "target": "accuracy_drop=0.05",
        "samples": 1_000,
        "thresholds": {"judge": None, "student": 0.4},
        "certificate": {"promised": True, "limit": 0.05},
        "baseline": {
            "score_edges": [place / 10 for place in range(1, 10)],
            "score_counts": [100] * 10,
            "kept": interval(0.6, 0.03),
            "differs_from_large": interval(0.05),
        },
    }
    (tmp_path / "calibrated.json").write_text(json.dumps(report))
    (tmp_path / "calibrated.yaml").write_text("model: {init_args: {thresholds: {student: 0.4}}}")
    (tmp_path / "data.json").write_text(json.dumps({"class_names": ["cat", "dog"]}))
    return tmp_path


def predictions(path, *, differs=0.05, shift=0.0, samples=4_000, shadow=0.5, labels=True, harm=0.0, seed=0):
    rng, lines = np.random.default_rng(seed), []
    for index in range(samples):
        score = min(1.0, rng.random() + shift)
        shadowed, kept = rng.random() < shadow, score >= 0.4
        large = int(rng.random() < 0.5)
        prediction = 1 - large if rng.random() < differs else large
        label = large if rng.random() < 0.9 else 1 - large
        if rng.random() < harm:
            prediction, label = 1 - large, large
        lines.append(
            {
                "prediction": prediction,
                "route": "student" if kept else "teacher",
                "gate_score": score,
                "teacher_prediction": large if shadowed or not kept else None,
                "shadowed": bool(shadowed),
                "index": index,
                "target_index": label if labels else None,
            }
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


def test_a_stream_as_expected_raises_no_alarm(run, capsys):
    lines = predictions(run / "predictions" / "one" / "predict.jsonl")
    main(["monitor", str(run)])
    printed = capsys.readouterr().out
    found = json.loads((run / "monitor.json").read_text())
    shadowed = [line for line in lines if line["shadowed"]]
    assert found["samples"] == 4_000 and found["compared"] == found["labelled"] == len(shadowed)
    assert found["kept"] == sum(line["route"] != "teacher" for line in lines) / 4_000
    assert found["differs"] == np.mean(
        [line["prediction"] != line["teacher_prediction"] for line in shadowed]
    )
    losses = [
        (line["teacher_prediction"] == line["target_index"]) - (line["prediction"] == line["target_index"])
        for line in shadowed
    ]
    assert found["drop"] == pytest.approx(np.mean(losses))
    assert "nothing speaks for calibrating again" in printed and "no alarm" in printed
    assert (run / "monitor.png").stat().st_size > 10_000 and not found["calibrate_again"]


def test_a_larger_drop_raises_one_and_the_command_says_so(run, capsys):
    predictions(run / "predict.jsonl", harm=0.08)
    with pytest.raises(SystemExit) as stop:
        main(["monitor", str(run)])
    printed = capsys.readouterr().out
    assert stop.value.code == 1 and "ALARM after" in printed and "calibrate again" in printed
    assert f"calibrate --config {run / 'config.yaml'} --target accuracy_drop=0.05" in printed


def test_without_labels_answers_that_differ_tell(run):
    predictions(run / "predict.jsonl", differs=0.15, labels=False)
    monitor(run)
    found = json.loads((run / "monitor.json").read_text())
    assert found["drop"] is None and found["differs_alarm"]["raised_at"] is not None


def test_labels_may_come_later(run):
    lines = predictions(run / "predict.jsonl", labels=False)
    names = ["cat", "dog"]
    labels = run / "labels.jsonl"
    labels.write_text(
        "".join(
            json.dumps({"index": line["index"], "label": names[line["teacher_prediction"] or 0]}) + "\n"
            for line in lines[:1_000]
        )
    )
    monitor(run, labels=labels)
    found = json.loads((run / "monitor.json").read_text())
    assert found["labelled"] == sum(line["shadowed"] for line in lines[:1_000])


def test_scores_and_share_that_have_moved_are_told(run):
    predictions(run / "predict.jsonl", shift=0.2)
    said, again = monitor(run)
    found = json.loads((run / "monitor.json").read_text())
    assert again and found["kept_moved"] and found["scores_moved"]
    assert any("scores of the gate have moved" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("calibrated.json", "{}", "has nothing to compare with"),
        ("predict.jsonl", "not json\n", "line 1: not a JSON object"),
        ("predict.jsonl", '{"a": 1}\n', "line 1: no prediction"),
        ("predict.jsonl", "", "holds no predictions"),
        ("labels.jsonl", '{"index": 1, "label": "cow"}\n', "is no class of the run"),
        ("labels.jsonl", '{"id": 1}\n', "give index and label"),
    ],
)
def test_bad_files_are_named(run, name, content, said):
    predictions(run / "predict.jsonl", samples=10)
    (run / name).write_text(content)
    with pytest.raises(InputError, match=said):
        monitor(run, labels=run / name if name == "labels.jsonl" else None)


def test_without_predictions_it_says_what_to_do(run):
    with pytest.raises(InputError, match="predict --shadow"):
        monitor(run)
