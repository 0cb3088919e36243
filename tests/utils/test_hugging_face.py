"""Models that cannot be loaded are one line, and run no code; the fingerprint is of what answers."""

import json
import os
import pickle
import shutil

import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForSequenceClassification, AutoTokenizer

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.hugging_face import fingerprint, from_pretrained, whole_model

OPTION = "--model.teacher.name"


class Payload:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def bert(tiny_bert, tmp_path):
    """A folder with a BERT, which a test may damage."""
    shutil.copytree(tiny_bert, tmp_path / "model")
    return tmp_path / "model"


def refused(load) -> str:
    with pytest.raises(InputError) as error:
        load()
    said = str(error.value)
    assert "\n" not in said and said.startswith(OPTION) and len(said) < 400
    return said


def as_bin(folder, content: bytes | None = None, saved: object = None) -> None:
    """Puts a `.bin` in the place of the weights."""
    (folder / "model.safetensors").unlink()
    if content is None:
        torch.save(saved, folder / "pytorch_model.bin")
    else:
        (folder / "pytorch_model.bin").write_bytes(content)


def test_weights_with_a_payload_are_one_line_and_run_nothing(bert, tmp_path):
    bad = Payload(tmp_path / "ran")
    for number, content in enumerate((None, pickle.dumps(bad))):
        folder = tmp_path / str(number)
        shutil.copytree(bert, folder)
        as_bin(folder, content, {"bert.weight": bad})
        said = refused(lambda own=folder: whole_model(AutoModelForSequenceClassification, str(own), OPTION))
        assert "holds no model that loads: its weights file holds more than weights, or is damaged" in said
    assert not (tmp_path / "ran").exists()


def test_code_in_a_folder_is_not_run_and_nobody_is_asked(bert, tmp_path):
    (bert / "own.py").write_text(f"import os; os.mkdir({str(tmp_path / 'ran')!r})")
    classes = {"AutoConfig": "own.A", "AutoModelForSequenceClassification": "own.B"}
    (bert / "config.json").write_text(json.dumps({"auto_map": classes, "model_type": "own"}))
    assert "holds no model" in refused(
        lambda: whole_model(AutoModelForSequenceClassification, str(bert), OPTION)
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"garbage" * 500, b"version https://git-lfs.github.com/spec/v1\n"])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_weights_are_one_line(content, name, bert):
    as_bin(bert, b"")
    (bert / "pytorch_model.bin").unlink()
    (bert / name).write_bytes(content)
    refused(lambda: whole_model(AutoModelForSequenceClassification, str(bert), OPTION))


@pytest.mark.parametrize("saved", [[1, 2], {1: torch.ones(2)}, {"bert.weight": 3}, torch.ones(2)])
def test_files_of_something_else_are_one_line(saved, bert):
    as_bin(bert, saved=saved)
    refused(lambda: whole_model(AutoModelForSequenceClassification, str(bert), OPTION))


BROKEN = [
    "",
    "null",
    "[]",
    "[1]",
    "{}",
    "[" * 100_000,
    '{"hidden_size": "x"}',
    '{"model_type": "bert", "hidden_size": "x"}',
]


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"]
)
def test_broken_files_beside_the_weights_are_one_line(content, name, bert):
    (bert / name).write_text(content)
    classes = {
        "config.json": AutoModelForSequenceClassification,
        "preprocessor_config.json": AutoImageProcessor,
    }
    auto_class = classes.get(name, AutoTokenizer)
    if name == "tokenizer_config.json" and content in ("{}", '{"hidden_size": "x"}', BROKEN[-1]):
        from_pretrained(auto_class, str(bert), OPTION)  # the tokenizer itself says enough
    else:
        refused(lambda: from_pretrained(auto_class, str(bert), OPTION))


def parts(folder):
    model = whole_model(AutoModelForSequenceClassification, str(folder), OPTION)
    return model, from_pretrained(AutoTokenizer, str(folder), OPTION)


def test_fingerprint_is_of_weights_configuration_and_tokenizer_not_of_place_or_format(bert, tmp_path):
    before = fingerprint(*parts(bert))
    assert fingerprint(*parts(shutil.copytree(bert, tmp_path / "elsewhere"))) == before
    as_bin(tmp_path / "elsewhere", saved=parts(bert)[0].state_dict())
    assert fingerprint(*parts(tmp_path / "elsewhere")) == before
    found = {before}
    for change in (_weight, _epsilon, _word, _label):
        folder = shutil.copytree(bert, tmp_path / change.__name__)
        change(folder)
        found.add(fingerprint(*parts(folder)))
    assert len(found) == 5


def _weight(folder):
    model = parts(folder)[0]
    with torch.no_grad():
        model.classifier.bias[1] += 1e-6
    model.save_pretrained(folder)


def _replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _epsilon(folder):
    _replace(folder / "config.json", "1e-12", "1e-10")


def _word(folder):
    _replace(folder / "tokenizer.json", '"cable"', '"cables"')


def _label(folder):
    _replace(folder / "config.json", '"0": "negative"', '"0": "negativ"')


def test_fingerprint_takes_every_format_of_numbers(bert):
    model, tokenizer = parts(bert)
    formats = (torch.float32, torch.float16, torch.bfloat16)
    assert len({fingerprint(model.to(own), tokenizer) for own in formats}) == 3
