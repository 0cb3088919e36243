"""Zero-shot classification of texts equals transformers' own pipeline."""

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, pipeline

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import ZeroShotText
from kcm_lightning.utils.errors import InputError

TEXTS = ["the box is broken", "works great and never fails", "cheap cable", "it came late again and again"]
CLASSES = ["defect", "praise", "late_delivery"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def inference(tmp_path_factory, word_tokenizer):
    """A folder with a small random model of natural language inference."""
    tokenizer = AutoTokenizer.from_pretrained(word_tokenizer)
    names = {0: "contradiction", 1: "neutral", 2: "ENTAILMENT"}
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), id2label=names, label2id={v: k for k, v in names.items()}, **sizes
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.mul_(30)  # so that classes differ
    folder = tmp_path_factory.mktemp("inference")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_it_equals_the_pipeline(inference):
    model = ZeroShotText(str(inference), hypothesis="it is about {label}.")
    model.load(CLASSES, CPU)
    found = model.distribution(Query(TEXTS))[:, 0]
    oracle = pipeline("zero-shot-classification", model=str(inference))
    labels = [name.replace("_", " ") for name in CLASSES]
    for row, said in zip(found, oracle(TEXTS, labels, hypothesis_template="it is about {}."), strict=True):
        expected = dict(zip(said["labels"], said["scores"], strict=True))
        assert row.tolist() == pytest.approx([expected[label] for label in labels], abs=1e-4)


def test_long_texts_are_cut_and_the_sentence_stays(inference):
    model = ZeroShotText(str(inference), max_tokens=20)
    model.load(CLASSES, CPU)
    found = model.distribution(Query(["box " * 5_000]))
    assert found.isfinite().all() and found[0, 0].std() > 0


def test_what_is_no_such_model_is_one_line(tiny_bert):
    with pytest.raises(InputError, match="has no class `entailment` but negative, positive"):
        ZeroShotText(str(tiny_bert)).load(CLASSES, CPU)
    with pytest.raises(InputError, match=r"--model\.teacher\.hypothesis"):
        ZeroShotText("x", hypothesis="no field")
