"""`predict --input`: tables, lists, folders and pipes; bad rows; a kill at any moment changes nothing."""

import csv
import io
import json
import multiprocessing
import os
import random
import sys
import time
from pathlib import Path

import lightning as L
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import kcm_lightning.api
from kcm_lightning.cli.predict_input import _columns
from kcm_lightning.data import MSCOCO, DigitsLT, ImageFolder, TextTable
from kcm_lightning.predict import predict
from kcm_lightning.utils.errors import InputError
from tests.large.chat_server import ChatServer, right_word
from tests.run_commands import kcm

pytestmark = pytest.mark.slow
WORDS = ["cable", "broken", "great", "slow", "cheap", "box", "works", "fine", "bad", "never", "again"]


def texts(count, seed=0):
    rng = random.Random(seed)
    return [f"{' '.join(rng.choices(WORDS, k=7))} {seed} {n}" for n in range(count)]


@pytest.fixture(scope="module")
def chat_run(tmp_path_factory, word_tokenizer):
    """A run whose large model is a chat server that is up for the tests of this file, and the server."""
    folder = tmp_path_factory.mktemp("predict")
    rows = [{"text": text, "label": right_word(text)} for text in texts(300)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = len(json.loads((word_tokenizer / "tokenizer.json").read_text())["model"]["vocab"])
    with ChatServer() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "right")
        options = ["--data", "kcm_lightning.data.TextTable", "--data.path", "train.jsonl"]
        options += [f"--data.tokenizer={word_tokenizer}", f"--model.judge.vocab_size={words}"]
        options += ["--model.judge.embedding=8", "--model.judge.width=4", "--model.judge_phase.epochs=1"]
        options += ["--model.student_phase.epochs=1", f"--model.teacher.base_url={server.url}"]
        options += ["--model.teacher.model=judge-1", "--model.teacher.prices={input: 10, output: 10}"]
        options += ["--model.thresholds={judge: 0.55, student: 0.6}", "--trainer.accelerator=cpu"]
        kcm(folder, "fit", "--config", "apd_chat.yaml", *options, "--run", "run")
        yield folder / "run", server


def command(run: Path, given: str, output: Path, *more: str) -> str:
    return kcm(run.parent, "predict", "--run", str(run), "--input", given, "--output", str(output), *more)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_kind_of_file_gives_the_same_answers_as_python(chat_run, tmp_path, monkeypatch):
    run, _ = chat_run
    given = texts(60, seed=1)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": own, "id": 1}) + "\n" for own in given))
    with (tmp_path / "b.csv").open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows(
            [["id", "text"], *([n, own] for n, own in enumerate(given))]
        )
    (tmp_path / "c.txt").write_text("\n".join(given))
    expected = kcm_lightning.load(run).answer(given)
    for name in ("a.jsonl", "b.csv", "c.txt"):
        printed = command(run, str(tmp_path / name), tmp_path / f"{name}.jsonl", "--batch_size", "60")
        found = lines(tmp_path / f"{name}.jsonl")
        assert [row["answer"] for row in found] == expected.label
        assert [row["route"] for row in found] == [route.name.lower() for route in expected.route]
        assert [row["confidence"] for row in found] == pytest.approx(expected.confidence.tolist())
        assert [row["row"] for row in found] == list(range(1, 61))
        called = [row["route"] == "teacher" for row in found]
        assert 0 < sum(called) < 60
        for row, own in zip(found, given, strict=True):
            price = (len(own.split()) + 2) * 10 / 1e6 if row["route"] == "teacher" else 0
            assert row["cost"] == pytest.approx(price)
        assert f"LM rate {100 * sum(called) / 60:.2f} %" in printed and "cost: " in printed
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "a.jsonl").read_bytes())))
    command(run, "-", tmp_path / "piped.jsonl", "--batch_size", "60")
    assert (tmp_path / "piped.jsonl").read_text() == (tmp_path / "a.jsonl.jsonl").read_text()


def test_csv_and_parquet_hold_what_json_lines_hold(chat_run, tmp_path):
    run, _ = chat_run
    (tmp_path / "in.txt").write_text("\n".join([*texts(40, seed=2), "   ", "last"]))
    for suffix in (".jsonl", ".csv", ".parquet"):
        command(run, str(tmp_path / "in.txt"), tmp_path / f"out{suffix}", "--batch_size", "16")
    expected = lines(tmp_path / "out.jsonl")
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == expected
    with (tmp_path / "out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["answer"] for row in found] == [row["answer"] or "" for row in expected]
    assert [row["problem"] for row in found][-2:] == ["no text", ""]
    assert not list(tmp_path.glob(".*"))


def test_bad_rows_are_named_and_counted(chat_run, tmp_path):
    run, _ = chat_run
    given = [*texts(10, seed=3), "x" * 600_000, "", "fine"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": own}) + "\n" for own in given))
    printed = command(run, str(tmp_path / "in.jsonl"), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        problems = [row["problem"] for row in csv.DictReader(file)]
    assert "600,000 characters" in problems[10] and problems[11] == "no text" and problems.count("") == 11
    assert "could not read 2 rows" in printed


def test_killed_at_random_moments_the_output_is_the_same_and_nothing_is_asked_twice(chat_run, tmp_path):
    run, server = chat_run
    given = texts(2_000, seed=4)
    (tmp_path / "in.txt").write_text("\n".join(given))
    work = run, tmp_path / "in.txt", tmp_path / "out.jsonl"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kcm_lightning.api", "kcm_lightning.predict", "kcm_lightning.large"])
    rng, progress = random.Random(0), tmp_path / ".out.jsonl.progress.json"
    kills, before = 0, -1
    for _ in range(3):  # it was tried with 20
        process = context.Process(target=_predict, args=work)
        process.start()
        while process.is_alive() and _rows(progress) <= before:
            time.sleep(0.01)  # until it has done something of its own
        time.sleep(rng.random() * 0.2)
        process.kill()
        process.join()
        kills, before = kills + 1, _rows(progress)
        if not progress.exists():
            break
    assert kills == 3
    if progress.exists():
        _predict(*work)
    killed = lines(tmp_path / "out.jsonl")
    assert [row["row"] for row in killed] == list(range(1, 2_001))
    asked = _sent(server, given)
    # a reply that was on its way when the process was killed is lost with it, of a batch at most
    assert sum(count - 1 for count in asked.values()) <= kills * 8
    assert len(asked) == sum(row["route"] == "teacher" for row in killed)
    command(run, str(tmp_path / "in.txt"), tmp_path / "whole.jsonl", "--batch_size", "8")
    assert (tmp_path / "whole.jsonl").read_text() == (tmp_path / "out.jsonl").read_text()
    assert _sent(server, given) == asked


def _sent(server: ChatServer, given: list[str]) -> dict[str, int]:
    """How many answers the server has sent to each text."""
    return {text: count for text in given if (count := server.sent[f"Review: {text}"])}


def _predict(run: Path, given: Path, output: Path) -> None:
    os.chdir(run.parent)
    loaded = kcm_lightning.load(run)
    predict(loaded, str(given), output, asked={}, columns=["text"], batch_size=8)


def _rows(progress: Path) -> int:
    try:
        return json.loads(progress.read_text())["rows"]
    except (OSError, ValueError):
        return -1


@pytest.mark.parametrize(
    ("given", "more", "said"),
    [
        ("nowhere.csv", [], "--input: there is no file or folder 'nowhere.csv'"),
        ("in.csv", ["--column", "body"], "has no column 'body'; it has id, text"),
        ("in.csv", ["--output", "out.xlsx"], "must end in .jsonl, .csv, .parquet"),
        ("in.csv", ["--output", "there.jsonl"], "there.jsonl is there already"),
        ("in.bin", [], "is no folder of images, no table"),
        ("empty.txt", [], "holds nothing"),
        (".", [], "is a folder, and texts are in a file"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(chat_run, tmp_path, monkeypatch, given, more, said):
    run, _ = chat_run
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("id,text\n1,fine\n")
    (tmp_path / "in.bin").write_text("x")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "there.jsonl").write_text("mine\n")
    words = [
        "predict",
        "--run",
        str(run),
        "--input",
        given,
        *([] if "--output" in more else ["--output", "o.csv"]),
    ]
    with pytest.raises(AssertionError, match=said):
        kcm(tmp_path, *words, *more)
    assert (tmp_path / "there.jsonl").read_text() == "mine\n"


def test_columns_of_a_table_are_those_of_the_run_or_what_they_are_mostly_called(tmp_path, word_tokenizer):
    runs = (
        (TextTable("t.csv", text=["title", "body"], tokenizer=str(word_tokenizer)), ["title", "body"]),
        (ImageFolder(str(tmp_path), path="file"), ["file"]),
        (DigitsLT(), ["path"]),
        (MSCOCO(str(tmp_path)), ["path"]),
    )
    for data, columns in runs:
        assert _columns(kcm_lightning.api.Run(L.LightningModule(), data, [], "32")) == columns


def test_another_input_does_not_go_on_with_what_was_begun(chat_run, tmp_path):
    run, _ = chat_run
    (tmp_path / "in.txt").write_text("\n".join(texts(20)))
    loaded = kcm_lightning.load(run)
    answered = []

    def stop(batch):
        answered.append(batch)
        if len(answered) == 2:
            raise KeyboardInterrupt
        return collaborate(batch)

    collaborate, loaded.collaborate = loaded.collaborate, stop
    options = {"asked": {}, "columns": ["text"], "batch_size": 8}
    with pytest.raises(KeyboardInterrupt):
        predict(loaded, str(tmp_path / "in.txt"), tmp_path / "out.jsonl", **options)
    assert len(lines(tmp_path / "out.jsonl")) == 8
    with pytest.raises(InputError, match="begun for another input, run or thresholds"):
        predict(loaded, str(tmp_path / "in.txt"), tmp_path / "out.jsonl", **options | {"batch_size": 4})
    counts = predict(loaded, str(tmp_path / "in.txt"), tmp_path / "out.jsonl", **options)
    assert counts["rows"] == 20 == len(lines(tmp_path / "out.jsonl"))


def test_a_folder_of_images_and_a_list_of_them(tmp_path, tiny_classifier):
    short = ["--model.judge_phase.epochs=1", "--model.student_phase.epochs=0", "--model.judge.width=8"]
    short += [f"--model.teacher.name={tiny_classifier(10)}", "--model.judge.depths=[1]"]
    kcm(tmp_path, "fit", "--config", "quickstart.yaml", *short, "--model.cache=null", "--run", "run")
    images = tmp_path / "images"
    (images / "more").mkdir(parents=True)
    for number, name in enumerate(("b.png", "a.jpg", "more/c.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / name)
    (images / "broken.png").write_bytes(b"no image")
    printed = command(tmp_path / "run", str(images), tmp_path / "out.jsonl")
    found = {Path(row["path"]).name: row for row in lines(tmp_path / "out.jsonl")}
    assert set(found) == {"a.jpg", "b.png", "broken.png", "c.png"}
    assert "no image of a known kind" in found["broken.png"]["problem"] and "could not read 1 rows" in printed
    assert found["a.jpg"]["answer"] in {str(digit) for digit in range(10)}
    (tmp_path / "list.txt").write_text("images/a.jpg\nimages/b.png\nimages/none.png\n")
    command(tmp_path / "run", "list.txt", tmp_path / "listed.jsonl")
    listed = lines(tmp_path / "listed.jsonl")
    assert [row["answer"] for row in listed[:2]] == [found[name]["answer"] for name in ("a.jpg", "b.png")]
    assert listed[2]["answer"] is None and "there is no such file" in listed[2]["problem"]
