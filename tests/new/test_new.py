"""`new`: what it says of data, what it writes, and that what it writes runs."""

import json

import pytest
import yaml

from kcm_lightning.new.large_model import large_model
from kcm_lightning.utils.errors import InputError
from tests.data.test_image_folder import fill
from tests.data.test_text_table import WORDS, texts, write
from tests.run_commands import kcm

pytestmark = pytest.mark.slow


def test_images_from_a_folder_to_a_table(tmp_path, tiny_classifier):
    for seed, part in enumerate(("train", "val", "test")):
        fill(tmp_path / "pets" / part, counts=(44, 20, 3), seed=seed)
    large = tiny_classifier(5, ["tabby", "persian", "dog", "owl", "emu"])
    labels = json.dumps({"tabby": "cat", "persian": "cat"})
    words = ["new", "--images", "pets", "--large", str(large), "--labels", labels, "--output", "pets.yaml"]
    printed = kcm(tmp_path, *words)
    assert "train 67, val 67, test 67 samples" in printed and "3 classes: cat 44, dog 20, owl 3" in printed
    assert "'cat' has 15 times as many training samples as 'owl'" in printed
    assert "1 classes have fewer than 10 training samples: 'owl'" in printed
    assert "67 validation samples are few" in printed and "a classifier of 5 classes" in printed
    written = yaml.safe_load((tmp_path / "pets.yaml").read_text())
    assert written["model"]["init_args"]["judge"]["init_args"] == {"num_classes": 3, "size": "s"}
    assert written["model"]["init_args"]["teacher"]["init_args"]["labels"] == json.loads(labels)
    assert written["data"]["init_args"]["root"] == "pets"
    for command in [line.strip() for line in printed.splitlines() if line.startswith("  python")]:
        printed = kcm(tmp_path, *command.removeprefix("python -m kcm_lightning ").split(), *_short(command))
    assert "pets, 67 test samples" in printed and (tmp_path / "runs/pets/0/results.json").is_file()


def _short(command: str) -> list[str]:
    return ["--trainer.max_epochs=1", "--trainer.accelerator=cpu"] if " fit " in command else []


@pytest.mark.parametrize("large", ["classifier", "chat", "recorded"])
def test_texts_with_every_kind_of_large_model(tmp_path, tiny_bert, word_tokenizer, large):
    rows = texts(400, classes=("negative", "positive"))
    write(tmp_path / "tickets.csv", rows)
    answers = [{"text": row["text"], "answer": row["label"]} for row in rows]
    write(tmp_path / "answers.jsonl", answers)
    names = {"classifier": str(tiny_bert), "chat": "chat:gpt-x", "recorded": "answers.jsonl"}
    words = ["new", "--texts", "tickets.csv", "--large", names[large], "--tokenizer", str(word_tokenizer)]
    printed = kcm(tmp_path, *words)
    assert "2 classes: " in printed and "written: my_problem.yaml" in printed
    assert ("set its prices" in printed) == (large == "chat")
    written = yaml.safe_load((tmp_path / "my_problem.yaml").read_text())
    paths = {"classifier": "TextClassifier", "chat": "Chat", "recorded": "Recorded"}
    assert written["model"]["init_args"]["teacher"]["class_path"] == f"kcm_lightning.large.{paths[large]}"
    if large != "chat":
        short = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
        kcm(tmp_path, "fit", "--config", "my_problem.yaml", *short, "--run", "run")
    with pytest.raises(AssertionError, match=r"my_problem\.yaml is there already"):
        kcm(tmp_path, *words)


def test_what_may_be_wrong_with_labels_is_said(tmp_path, tiny_bert, word_tokenizer):
    rows = texts(300, classes=("Refund", "refunds", "late"))
    rows += [{**row, "label": "late"} for row in rows[:30]]
    write(tmp_path / "t.csv", rows)
    words = ["new", "--texts", "t.csv", "--large", "chat:x", "--tokenizer", str(word_tokenizer)]
    printed = kcm(tmp_path, *words)
    assert "perhaps one class under two names: 'Refund' and 'refunds'" in printed
    assert "30 copies of other texts" in printed and "with another label" in printed


def test_what_cannot_be_used_is_one_line(tmp_path, tiny_bert, tiny_classifier, monkeypatch):
    def look(name, kind="texts", names=("negative", "positive")):
        return large_model(str(name), kind, list(names), labels=None, server=None)

    monkeypatch.chdir(tmp_path)
    wrong = {
        "--large: there is no file 'x.jsonl'": lambda: look("x.jsonl"),
        "are none of the model's": lambda: look(tiny_classifier(9), "images", ("cat", "dog")),
        "images need a classifier of them, or a CLIP": lambda: look(tiny_bert, "images"),
        "texts need a classifier of them": lambda: look(tiny_classifier(2), "texts"),
    }
    for said, ask in wrong.items():
        with pytest.raises(InputError, match=said):
            ask()
    with pytest.raises(AssertionError, match="either --images FOLDER or --texts FILE"):
        kcm(tmp_path, "new", "--large", "x")


def test_many_classes_are_told_by_a_chat_model_in_part():
    found = large_model(
        "chat:x", "texts", [f"{word} {n}" for word in WORDS for n in range(5)], labels=None, server=None
    )
    assert "it says the probabilities of 20 of the 60 classes at most" in found.said
