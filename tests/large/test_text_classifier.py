"""TextClassifier against Hugging Face's own pipeline."""

import pytest
import torch
from transformers import pipeline

from kcm_lightning.core.predictions import Query
from kcm_lightning.large import TextClassifier
from kcm_lightning.utils.errors import InputError

TEXTS = ["great box", "the cable came broken and I put it away", "bad"]
PROMPT = "{label} {probability:.1f} {text}"


def load(name, classes=("negative", "positive"), **options) -> TextClassifier:
    model = TextClassifier(str(name), **options)
    model.load(list(classes), torch.device("cpu"))
    return model


def by_pipeline(name, texts) -> torch.Tensor:
    said = pipeline("text-classification", model=str(name), top_k=None)(texts)
    return torch.tensor(
        [[next(s["score"] for s in row if s["label"] == c) for c in ("negative", "positive")] for row in said]
    )


def test_distribution_is_the_pipelines(tiny_bert):
    found = load(tiny_bert).distribution(Query(TEXTS))
    assert found.shape == (3, 1, 2) and found.dtype == torch.float32
    torch.testing.assert_close(found[:, 0], by_pipeline(tiny_bert, TEXTS))


def test_classes_are_matched_by_name(tiny_bert):
    turned = load(tiny_bert, classes=("Positive", "Negative")).distribution(Query(TEXTS))
    torch.testing.assert_close(turned.flip(-1), load(tiny_bert).distribution(Query(TEXTS)))


def test_prompt_states_the_small_models_answer(tiny_bert):
    model = load(tiny_bert, prompt=PROMPT)
    hint = torch.tensor([[0.29, 0.71], [0.5, 0.5], [0.98, 0.02]])
    stated = ["positive 0.7 great box", f"negative 0.5 {TEXTS[1]}", "negative 1.0 bad"]
    torch.testing.assert_close(model.distribution(Query(TEXTS, hint))[:, 0], by_pipeline(tiny_bert, stated))
    torch.testing.assert_close(model.distribution(Query(TEXTS))[:, 0], by_pipeline(tiny_bert, TEXTS))
    same, other = torch.tensor([[0.3, 0.7]]), torch.tensor([[0.2, 0.8]])
    assert (
        model.prompt_keys(Query([None] * 1, hint[:1]))
        == model.prompt_keys(Query([None] * 1, same))
        != model.prompt_keys(Query([None] * 1, other))
    )
    assert load(tiny_bert).identity != model.identity


def test_long_texts_are_cut(tiny_bert):
    long = ["box " * 5_000]
    assert torch.isfinite(load(tiny_bert).distribution(Query(long))).all()
    torch.testing.assert_close(
        load(tiny_bert, max_tokens=8).distribution(Query(long)),
        load(tiny_bert, max_tokens=8).distribution(Query(["box " * 8])),
    )


def test_bad_input(tiny_bert):
    with pytest.raises(InputError, match="the model knows 2 classes, the data has 3"):
        load(tiny_bert, classes="abc")
    for prompt in ("no text", "{text} {other}", "{text"):
        with pytest.raises(InputError, match=r"--model\.teacher\.prompt"):
            TextClassifier("x", prompt=prompt)
