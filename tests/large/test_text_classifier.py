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


@pytest.fixture(scope="module")
def roberta(tmp_path_factory, word_tokenizer):
    """A folder with a random RoBERTa for up to 16 tokens, whose tokenizer does not say so."""
    from transformers import AutoTokenizer, RobertaConfig, RobertaForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(word_tokenizer)
    assert tokenizer.model_max_length > 10**9
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=18, pad_token_id=1, **sizes)
    folder = tmp_path_factory.mktemp("roberta")
    RobertaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_roberta_whose_tokenizer_names_no_length(roberta):
    model = load(roberta)
    found = model.distribution(Query(["box " * 5_000]))
    assert model._length == 16  # its positions are counted from 2 on
    torch.testing.assert_close(found, load(roberta, max_tokens=16).distribution(Query(["box " * 14])))


def test_a_model_that_names_no_length_at_all_needs_one(tmp_path, word_tokenizer):
    from transformers import AutoTokenizer, XLNetConfig, XLNetForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(word_tokenizer)
    config = XLNetConfig(vocab_size=len(tokenizer), d_model=16, n_layer=1, n_head=2, d_inner=32)
    XLNetForSequenceClassification(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"--model\.teacher\.max_tokens: .* does not say how many tokens"):
        load(tmp_path)
    assert load(tmp_path, max_tokens=32).distribution(Query(["box " * 100])).isfinite().all()


def test_a_head_that_was_never_trained_is_refused(tmp_path, tiny_bert, word_tokenizer):
    """A bare encoder has two classes by default, LABEL_0 and LABEL_1: Hugging Face makes up their weights."""
    from transformers import AutoModel, AutoTokenizer

    AutoModel.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(word_tokenizer).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"lack 2 of the weights .*classifier.*apd_bert_finetune"):
        load(tmp_path)


def test_classes_with_other_names(tiny_bert):
    with pytest.raises(InputError, match=r"1 of the 2 class names match.*'negative'.*'bad'"):
        load(tiny_bert, classes=("bad", "positive"))
    with pytest.raises(InputError, match="none of the model's class names"):
        load(tiny_bert, classes=("bad", "good"))
    plain = load(tiny_bert).distribution(Query(TEXTS))
    by_position = load(tiny_bert, classes=("bad", "good"), labels="by_position")
    torch.testing.assert_close(by_position.distribution(Query(TEXTS)), plain)
    mapped = load(tiny_bert, classes=("good", "bad"), labels={"negative": "bad", "positive": "good"})
    torch.testing.assert_close(mapped.distribution(Query(TEXTS)), plain.flip(-1))


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
    with pytest.raises(InputError, match=r"max_tokens=0 must be at least 1, or null"):
        load(tiny_bert, max_tokens=0)
    for prompt in ("no text", "{text} {other}", "{text"):
        with pytest.raises(InputError, match=r"--model\.teacher\.prompt"):
            TextClassifier("x", prompt=prompt)
