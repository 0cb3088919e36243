"""KCM on reviews from end to end, through the command line: fine-tuned BERT, chat endpoint, recorded
answers."""

import json
import sys
from pathlib import Path

import pytest
import torch

import kcm_lightning
from kcm_lightning.cli import main
from tests.data.review_files import rows, write
from tests.large.chat_server import ChatServer, right_word

pytestmark = pytest.mark.slow


@pytest.fixture
def workplace(tmp_path, monkeypatch, word_tokenizer) -> list[str]:
    """Options of a small data set in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kcm_lightning"])
    write(tmp_path / "reviews_Baby_5.json.gz", rows(800, seed=1))
    return [
        *(
            f"--data.root={tmp_path}",
            "--data.category=Baby",
            f"--data.tokenizer={word_tokenizer}",
            "--data.max_tokens=40",
        ),
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
    ]


def small(word_tokenizer: Path) -> list[str]:
    words = len(json.loads((word_tokenizer / "tokenizer.json").read_text())["model"]["vocab"])
    judge = [f"--model.judge.vocab_size={words}", "--model.judge.embedding=16", "--model.judge.width=8"]
    return [
        *judge,
        "--model.judge_phase.epochs=8",
        "--model.judge_phase.lr=0.02",
        "--model.student_phase.epochs=2",
    ]


def results() -> dict:
    return json.loads(sorted(Path("runs").glob("*/*/results.json"))[-1].read_text())


def test_fine_tuned_bert_and_kcm(workplace, word_tokenizer, tiny_bert, capsys):
    finetune = [f"--model.name={tiny_bert}", "--model.training.epochs=10", "--model.training.lr=0.003"]
    main(["fit", "--config", "apd_bert_finetune.yaml", *workplace, *finetune])
    assert Path("runs/large_text_model/config.json").is_file()
    options = [*workplace, *small(word_tokenizer), "--model.judge.embeddings_from=runs/large_text_model"]
    main(["fit", "--config", "apd_bert.yaml", *options])
    main(["calibrate", "--config", "apd_bert.yaml", *options, "--target", "lm_rate=0.5"])
    capsys.readouterr()
    main(["test", "--config", "runs/apd_bert/0/config.yaml", "--config", "runs/apd_bert/0/calibrated.yaml"])
    assert "apd, Baby" in capsys.readouterr().out
    found = results()
    assert found["accuracy"]["teacher"]["overall"] > 0.9 and found["accuracy"]["student"]["overall"] > 0.8
    assert set(found["accuracy"]["kcm"]) == {"negative", "positive", "overall"} and "large_model" not in found
    run = kcm_lightning.load("runs/apd_bert/0", calibrated="runs/apd_bert/0/calibrated.yaml")
    saved = [json.loads(line) for line in Path("runs/apd_bert/0/predictions.jsonl").read_text().splitlines()]
    data = run.data
    data.setup()
    places = {key: number for number, key in enumerate(data.batches.keys.tolist())}
    texts = data.batches.texts(torch.tensor([places[row["index"]] for row in saved]))
    assert run.answer(texts).label == [row["predicted"] for row in saved]


def test_chat_buys_nothing_in_fit_and_routed_rows_in_test(
    workplace, word_tokenizer, capsys, monkeypatch, tmp_path
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-secret")
    with ChatServer() as server:
        options = [
            *workplace,
            *small(word_tokenizer),
            f"--model.teacher.base_url={server.url}",
            "--model.teacher.model=judge-1",
        ]
        options += ["--model.thresholds.judge=null", "--model.thresholds.student=0.9999"]
        main(["fit", "--config", "apd_chat.yaml", *options])
        assert not server.requests and "large model: requests 0" in capsys.readouterr().out
        main(["calibrate", "--config", "apd_chat.yaml", *options, "--target", "lm_rate=0.4"])
        assert (
            not server.requests and "expected accuracy" not in capsys.readouterr().out
        )  # an LM rate needs no answers
        main(["test", "--config", "apd_chat.yaml", *options])
        found, asked = results(), sum(server.requests.values())
        assert asked == found["routes"]["teacher"] == round(found["lm_rate"]["called"] * found["samples"]) > 0
        assert found["large_model"]["requests"] == asked and found["large_model"]["money"] > 0
        assert "large model: requests" in capsys.readouterr().out
        assert "teacher" not in found["accuracy"]  # no comparison is bought
        main(["test", "--config", "apd_chat.yaml", *options])
        assert (
            sum(server.requests.values()) == asked
            and results()["large_model"]["this_command"]["from_store"] == asked
        )
        assert server.keys == {"Bearer sk-planted-secret"}
        main(["calibrate", "--config", "apd_chat.yaml", *options, "--target", "accuracy_drop=0.05"])
        asked = sum(server.requests.values())
        routed = ["--model.thresholds.judge=null", "--model.thresholds.student=null"]
        main(
            [
                "validate",
                "--config",
                "runs/apd_chat/0/config.yaml",
                "--config",
                "runs/apd_chat/0/calibrated.yaml",
                *routed,
            ]
        )
        assert (
            sum(server.requests.values()) == asked
        )  # its prompts were those that the calibrated gates lead to
    assert not any(b"planted" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_recorded_answers_run_everything_offline(workplace, word_tokenizer, tmp_path, capsys):
    texts = [row["reviewText"] for row in rows(800, seed=1)]
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(json.dumps({"text": text, "answer": right_word(text)}) + "\n" for text in texts)
    )
    teacher = ["--model.teacher=kcm_lightning.large.Recorded", f"--model.teacher.path={answers}"]
    options = [*workplace, *small(word_tokenizer), *teacher]
    main(["fit", "--config", "apd_bert.yaml", "--model.judge.embeddings_from=null", *options])
    main(["test", "--config", "apd_bert.yaml", "--model.judge.embeddings_from=null", *options])
    assert "random" in results()["accuracy"]
    asked = {
        json.loads(line)["index"]
        for line in Path("runs/apd_bert/0/predictions.jsonl").read_text().splitlines()
    }
    rest = [
        {"index": index, "answer": "positive"} for index in asked
    ]  # of the test split alone, which calibrate does not read
    answers.write_text("".join(json.dumps(row) + "\n" for row in rest))
    calibrate = ["calibrate", "--config", "apd_bert.yaml", "--model.judge.embeddings_from=null", *options]
    capsys.readouterr()
    main([*calibrate, "--target", "lm_rate=0.5"])
    said = capsys.readouterr().out
    assert "expected LM rate" in said and "expected accuracy" not in said
    with pytest.raises(SystemExit):
        main([*calibrate, "--target", "accuracy_drop=0.01"])
    assert "has no answer to sample" in capsys.readouterr().err


def test_bad_input_is_one_clear_line(workplace, word_tokenizer, tiny_bert, monkeypatch, capsys, tmp_path):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    bert = [
        "fit",
        "--config",
        "apd_bert.yaml",
        *workplace,
        *small(word_tokenizer),
        f"--model.teacher.name={tiny_bert}",
    ]
    bert.append("--model.judge.embeddings_from=null")
    cases = [
        ("known are Video_Games", [*bert, "--data.category=Toys"]),
        ("set --model.judge.vocab_size=", [*bert, "--model.judge.vocab_size=99"]),
        ("must contain {text}", [*bert, "--model.teacher.prompt=say"]),
        ("embeddings_from", [*bert, "--model.judge.embeddings_from=nobody/nothing"]),
        (
            "there is no file",
            [*bert, "--model.teacher=kcm_lightning.large.Recorded", "--model.teacher.path=none.jsonl"],
        ),
    ]
    for reason, words in cases:
        with pytest.raises(SystemExit) as stop:
            main(words)
        said = [
            line
            for line in capsys.readouterr().err.splitlines()
            if line.startswith("error:") or "Traceback" in line
        ]
        assert stop.value.code == 2 and len(said) == 1 and reason in said[0], (words, said)
