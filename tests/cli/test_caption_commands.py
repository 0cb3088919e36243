"""The commands with captions as a user meets them: fit, calibrate, test, predict, report, and a trained run
from Python."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import kcm_lightning
from kcm_lightning.core.routing import Route
from kcm_lightning.metrics.caption_scores import has_java, score_tokenized, tokenize
from kcm_lightning.report import report
from tests.data.caption_data import COLOURS, write, write_odd
from tests.run_commands import kcm, results_in
from tests.tensorboard_tags import unexplained

SCORING = "ptb" if has_java() else "words"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a run on walls whose large model is recorded; three of its images have no caption."""
    folder = tmp_path_factory.mktemp("captions")
    write(folder / "tiny")
    rows = [
        {"filename": f"{n:03}.jpg", "caption": f"the picture shows a {list(COLOURS)[n % 4]} wall"}
        for n in range(53)
    ]
    (folder / "large.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = [
        f"--data.root={folder / 'tiny'}",
        "--data.captions=dataset_tiny.json",
        "--data.image_size=16",
        "--data.vocab_size=18",
    ]
    options += [
        f"--data.answered={folder / 'large.jsonl'}",
        "--data.batch_size=8",
        "--data.max_length=9",
        "--model.judge.vocab_size=18",
    ]
    options += [
        f"--model.teacher.path={folder / 'large.jsonl'}",
        "--model.judge.width=16",
        "--model.judge.channels=8",
        f"--model.scoring={SCORING}",
    ]
    options += [
        "--model.judge.depths=[1,1]",
        "--model.judge_phase.epochs=3",
        "--model.student_phase.epochs=1",
    ]
    options += [
        "--trainer.log_every_n_steps=1",
        "--model.distill_thresholds.judge=0.1",
        "--data.distill_split=train",
    ]
    kcm(folder, "fit", "--config", "flickr8k_recorded.yaml", *options)
    return folder


def test_fit_leaves_a_run_and_examples(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = trained / "runs" / "flickr8k_recorded" / "0"
    events = EventAccumulator(str(run))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert {
        "train/judge_loss",
        "train/equation_4",
        "val/student_CIDEr_words",
        "val/kcm_BLEU-4_words",
        "val/lm_rate_called",
    } <= scalars
    assert events.Tags()["images"] == ["captions"]
    assert unexplained(scalars) == []
    best = max(event.value for event in events.Scalars("val/student_CIDEr_words")[3:])
    assert events.Scalars("hp_metric")[-1].value == best


def test_test_prints_table_4_and_its_figures_are_those_of_its_captions(trained):
    config = str(trained / "runs" / "flickr8k_recorded" / "0" / "config.yaml")
    printed = kcm(
        trained, "test", "--config", config, "--model.thresholds.judge=0.5", "--model.thresholds.student=0.3"
    )
    assert "BLEU-4" in printed and "CIDEr" in printed and "3 unanswered" in printed
    run = results_in(trained, printed)
    results = json.loads((run / "results.json").read_text())
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    assert results["samples"] == len(lines) == 9 and results["data"]["splits"]["left_out"]["unanswered"] == 3
    references = [line["references"] for line in lines]
    columns = {
        "kcm": "caption",
        "judge": "judge_caption",
        "student": "student_caption",
        "teacher": "teacher_caption",
    }
    said = {who: [line[column] for line in lines] for who, column in columns.items()}
    for who, wanted in score_tokenized(tokenize(said, references, SCORING), meteor=SCORING == "ptb").items():
        assert {name: results["scores"][who][name] for name in wanted} == pytest.approx(wanted), who
    for line in lines:
        assert (
            line["caption"] == line[f"{line['route']}_caption"]
            and line["confidence"] == line[f"{line['route']}_confidence"]
        )
    called = sum(line["route"] == "teacher" for line in lines)
    assert results["lm_rate"]["called"] == pytest.approx(called / 9)
    assert Image.open(run / "curve.png").size[0] > 500
    text = report([str(run)])
    kcm_column = [cell.strip() for cell in text.splitlines()[2].split("|")].index("KCM")
    row = next(line for line in text.splitlines() if line.startswith("| BLEU-1 |"))
    assert row.split("|")[kcm_column].strip() == f"{100 * results['scores']['kcm']['BLEU-1']:.2f}"
    assert "Captions: tiny" in text and "RecordedCaptions large.jsonl" in text


@pytest.mark.parametrize("target", ["lm_rate=0.5", "bleu_drop=0.1", "cider_drop=1"])
def test_calibrate_meets_its_target_and_says_what_to_expect(trained, target):
    run = trained / "runs" / "flickr8k_recorded" / "0"
    scoring = "--model.scoring=words"  # without Java, which takes seconds to start
    printed = kcm(trained, "calibrate", "--config", str(run / "config.yaml"), "--target", target, scoring)
    assert "expected LM rate" in printed and "expected CIDEr minus that of the large model x 100" in printed
    gates = trained / printed.split("a second --config ")[1].splitlines()[0].strip()
    chosen = json.loads(gates.with_suffix(".json").read_text())
    assert chosen["samples"] == 12 and set(chosen["thresholds"]) == {"judge", "student", "teacher"}
    configs = ["--config", str(run / "config.yaml"), "--config", str(gates)]
    tested = results_in(trained, kcm(trained, "test", *configs, scoring))
    assert json.loads((tested / "results.json").read_text())["thresholds"] == chosen["thresholds"]


def test_a_target_of_classes_is_refused(trained):
    run = trained / "runs" / "flickr8k_recorded" / "0"
    with pytest.raises(
        AssertionError, match=r"error: accuracy_drop=0\.1: accuracy and accuracy_drop are for"
    ):
        kcm(trained, "calibrate", "--config", str(run / "config.yaml"), "--target", "accuracy_drop=0.1")


def test_missing_captions_of_the_large_model_are_never_replaced_unsaid(trained, tmp_path):
    run = trained / "runs" / "flickr8k_recorded" / "0"
    images = json.loads((trained / "tiny" / "dataset_tiny.json").read_text())["images"]
    held_out = {image["filename"] for image in images if image["split"] == "test"}
    rows = [json.loads(line) for line in (trained / "large.jsonl").read_text().splitlines()]
    some = tmp_path / "some.jsonl"  # of the test split alone
    some.write_text("".join(json.dumps(row) + "\n" for row in rows if row["filename"] in held_out))
    command = [
        "calibrate",
        "--config",
        str(run / "config.yaml"),
        f"--model.teacher.path={some}",
        "--model.scoring=words",
    ]
    command += ["--ckpt_path", str(run / "checkpoints" / "best.ckpt"), "--run", str(tmp_path)]
    printed = kcm(trained, *command, "--target", "lm_rate=0.5")
    assert "expected LM rate" in printed and "CIDEr" not in printed
    with pytest.raises(AssertionError, match="has no caption of"):
        kcm(trained, *command, "--target", "bleu_drop=0.1")


@pytest.fixture(scope="module")
def odd_images(tmp_path_factory) -> Path:
    """200 images, one of them damaged, some of them odd, and a link to nothing."""
    folder, random = tmp_path_factory.mktemp("odd") / "images", np.random.RandomState(0)
    (folder / "more").mkdir(parents=True)
    for number in range(194):
        Image.fromarray(random.randint(0, 255, (20, 30, 3), dtype=np.uint8)).save(folder / f"{number:03}.jpg")
    Image.new("RGB", (30, 20), "red").save(folder / "more" / "<b>'0'.jpg")
    write_odd(folder)
    (folder / "zzz.jpg").symlink_to(folder / "nowhere.jpg")
    return folder


class Page(HTMLParser):
    """The figures of a page, and every address that it names."""

    def __init__(self, text: str):
        super().__init__()
        self.images, self.words, self.addresses = 0, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.images += tag == "img"
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.words.append(data)


def test_predict_captions_a_folder_with_the_large_model_and_names_what_it_cannot_read(
    trained, odd_images, tiny_blip2
):
    run = trained / "runs" / "flickr8k_recorded" / "0"
    teacher = [
        "--model.teacher=kcm_lightning.large.ImageToText",
        f"--model.teacher.name={tiny_blip2}",
        "--model.teacher.beams=2",
    ]
    teacher += [
        "--model.teacher.max_new_tokens=5",
        "--model.teacher.hint=model says {label} with {probability:.0%} a photo of",
    ]
    words = [
        "--model.thresholds.judge=0.45",
        "--model.thresholds.student=0.3",
        f"--data.predict_folder={odd_images}",
    ]
    printed = kcm(trained, "predict", "--config", str(run / "config.yaml"), *teacher, *words)
    assert "truncated.jpg cannot be read" in printed and "199 captions" in printed
    lines = [json.loads(line) for line in (run / "predict.jsonl").read_text().splitlines()]
    bad = [{"filename": name, "error": "cannot be read"} for name in ("truncated.jpg", "zzz.jpg")]
    assert len(lines) == 201 and lines[-2:] == bad
    lines = lines[:-2]
    names = [line["filename"] for line in lines]
    assert names == sorted(names) and {
        "alpha.png",
        "cmyk.jpg",
        "dot.png",
        "wide.png",
        "more/<b>'0'.jpg",
    } <= set(names)
    for line in lines:
        assert isinstance(line["caption"], str) and 0 <= line["confidence"] <= 1
        assert line["route"] in {route.name.lower() for route in Route}
        assert (line["teacher_caption"] is not None) == (line["route"] == "teacher")
    assert {line["route"] for line in lines} >= {"teacher"}
    page = Page((run / "predict.html").read_text())
    assert page.images == 199 and all(
        address.startswith("data:image/jpeg;base64,") for address in page.addresses
    )
    text = " ".join(page.words)
    assert "more/<b>'0'.jpg" in text and "truncated.jpg: cannot be read" in text and "199 images" in text
    assert lines[0]["caption"] in text and re.search(r"\d+ by the large model", text)


def test_a_trained_run_captions_images_from_python(trained, odd_images):
    run = kcm_lightning.load(trained / "runs" / "flickr8k_recorded" / "0")
    run.module.thresholds.judge = 0.0
    answers = run.answer([str(odd_images / "dot.png"), str(odd_images / "wide.png")])
    assert answers.prediction == answers.label and all(isinstance(caption, str) for caption in answers.label)
    assert answers.route == [Route.JUDGE, Route.JUDGE] and answers.confidence.shape == (2,)
