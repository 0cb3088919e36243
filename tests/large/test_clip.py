"""CLIP against Hugging Face's own zero-shot arithmetic, and binned prompts against prompts encoded for each
sample."""

import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from kcm_lightning.core.predictions import Query
from kcm_lightning.core.prompts import class_prompt
from kcm_lightning.large import CLIP
from kcm_lightning.large.clip import PUBLISHED
from kcm_lightning.utils.errors import InputError

CPU = torch.device("cpu")
NAMES = [f"class{i}" for i in range(5)]


def images(count: int = 4) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def zero_shot(folder, pixels, texts):
    """Hugging Face's forward pass for one image and its own texts."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    inputs = AutoImageProcessor.from_pretrained(folder)(images=pixels, return_tensors="pt")
    with torch.no_grad():
        return model(
            **inputs, **tokenizer(texts, padding=True, return_tensors="pt")
        ).logits_per_image.softmax(-1)


def test_single_template_equals_hugging_face(tiny_clip):
    model = CLIP(str(tiny_clip), templates=["a photo of a {label}."])
    model.load(NAMES, CPU)
    expected = zero_shot(tiny_clip, images(), [f"a photo of a {name}." for name in NAMES])
    torch.testing.assert_close(model.distribution(Query(images()))[:, 0], expected, atol=1e-5, rtol=1e-4)


def test_probability_prompts_equal_prompts_encoded_for_every_sample(tiny_clip):
    """At the bins' centers: each image with the five prompts of its own probabilities."""
    model = CLIP(str(tiny_clip), templates=["a photo of a {label}."], probability_bins=11)
    model.load(NAMES, CPU)
    hint = torch.tensor([[0.5, 0.2, 0.1, 0.1, 0.1], [1, 0, 0, 0, 0], [0, 0.3, 0.3, 0.4, 0], [0.2] * 5])
    ours = model.distribution(Query(images(), hint))[:, 0]
    for i, probabilities in enumerate(hint.tolist()):
        texts = [
            class_prompt("a photo of a {label}.", n, p) for n, p in zip(NAMES, probabilities, strict=True)
        ]
        torch.testing.assert_close(ours[i], zero_shot(tiny_clip, images()[i], texts)[0], atol=1e-5, rtol=1e-4)
    plain = zero_shot(tiny_clip, images(), [f"a photo of a {name}." for name in NAMES])
    torch.testing.assert_close(model.distribution(Query(images()))[:, 0], plain, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(ours, plain, atol=1e-4)


def test_ensemble_is_the_mean_of_normalized_features(tiny_clip):
    templates = ["a photo of a {label}.", "a bad photo of the {label}."]
    model = CLIP(str(tiny_clip), templates=templates)
    model.load(NAMES, CPU)
    theirs, tokenizer = AutoModel.from_pretrained(tiny_clip).eval(), AutoTokenizer.from_pretrained(tiny_clip)
    with torch.no_grad():
        image = theirs.get_image_features(
            **AutoImageProcessor.from_pretrained(tiny_clip)(images=images(), return_tensors="pt")
        )
        image = torch.nn.functional.normalize(image.pooler_output, dim=-1)
        rows = []
        for name in NAMES:
            each = []
            for template in templates:
                tokens = tokenizer([template.format(label=name)], return_tensors="pt")
                each.append(
                    torch.nn.functional.normalize(theirs.get_text_features(**tokens).pooler_output[0], dim=0)
                )
            rows.append(torch.nn.functional.normalize(torch.stack(each).mean(0), dim=0))
        expected = (image @ torch.stack(rows).T * theirs.logit_scale.exp()).softmax(-1)
    torch.testing.assert_close(model.distribution(Query(images()))[:, 0], expected, atol=1e-5, rtol=1e-4)


def test_pruned_classes_state_no_probability(tiny_clip):
    model = CLIP(str(tiny_clip), templates=["a photo of a {label}."], probability_bins=11, pruned_classes=[0])
    model.load(NAMES, CPU)
    hint = torch.tensor([[0.5, 0.2, 0.1, 0.1, 0.1]] * 4)
    stated = [None, 0.4, 0.2, 0.2, 0.2]  # what is left, renormalized
    texts = [class_prompt("a photo of a {label}.", name, p) for name, p in zip(NAMES, stated, strict=True)]
    ours = model.distribution(Query(images(), hint))[:, 0]
    torch.testing.assert_close(ours, zero_shot(tiny_clip, images(), texts), atol=1e-5, rtol=1e-4)


def test_bad_prompts_are_refused(tiny_clip):
    with pytest.raises(InputError, match=r"pruned_classes: give some of the classes 0 to 4"):
        CLIP(str(tiny_clip), pruned_classes=[5]).load(NAMES, CPU)
    for template in ("a photo", "a photo of a {label} of {color}", "a {label} {}"):
        with pytest.raises(InputError, match=r"--model\.teacher\.templates"):
            CLIP(str(tiny_clip), templates=[template])


@pytest.fixture(scope="module")
def tiny_align(tmp_path_factory):
    """A folder with a random ALIGN and a word tokenizer."""
    from transformers import (
        AlignConfig,
        AlignModel,
        AlignTextConfig,
        AlignVisionConfig,
        EfficientNetImageProcessor,
    )

    from tests.large.clip import WORDS, _tokenizer

    folder = tmp_path_factory.mktemp("align")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    text = AlignTextConfig(vocab_size=len(WORDS), max_position_embeddings=40, pad_token_id=0, **sizes)
    layers = {"kernel_sizes": [3, 3, 5], "in_channels": [32, 16, 24], "out_channels": [16, 24, 30]}
    layers |= {"strides": [1, 1, 2], "num_block_repeats": [1, 1, 2], "expand_ratios": [1, 6, 6]}
    vision = AlignVisionConfig(
        image_size=32,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_dim=64,
        initializer_range=0.3,
        **layers,
    )
    config = AlignConfig(
        text_config=text, vision_config=vision, projection_dim=32, temperature_init_value=0.05
    )
    AlignModel(config).save_pretrained(folder)
    EfficientNetImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def test_align_equals_hugging_face(tiny_align):
    """It has a temperature in place of a scale."""
    model = CLIP(str(tiny_align), templates=["a photo of a {label}."])
    model.load(NAMES, CPU)
    expected = zero_shot(tiny_align, images(), [f"a photo of a {name}." for name in NAMES])
    found = model.distribution(Query(images()))[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert found.std(-1).min() > 1e-4  # it tells classes apart


def test_a_model_that_compares_nothing_is_named(tiny_bert):
    with pytest.raises(InputError, match="is a BertModel, which does not compare images with texts"):
        CLIP(str(tiny_bert)).load(NAMES, CPU)


def test_a_second_load_with_other_classes_counts(tiny_clip):
    one, other = CLIP(str(tiny_clip)), CLIP(str(tiny_clip))
    one.load(NAMES, CPU)
    one.load(NAMES[::-1], CPU)
    other.load(NAMES[::-1], CPU)
    assert torch.equal(one.distribution(Query(images())), other.distribution(Query(images())))


def test_classes_of_one_name_are_refused(tiny_clip):
    with pytest.raises(InputError, match="two classes of the data have one name"):
        CLIP(str(tiny_clip)).load(["lawn_mower", "cat", "lawn mower"], CPU)


def test_published_templates_are_the_file_s(real_data):
    text = (real_data / "weights" / "clip_tokenizer" / "cifar100_prompts.md").read_text()
    listed = [
        line.strip().strip("',")
        for line in text.split("templates = [")[1].split("]")[0].splitlines()
        if line.strip()
    ]
    assert sorted(t.replace("{label}", "{}") for t in PUBLISHED) == sorted(listed) and len(listed) == 18


def test_text_is_encoded_once(tiny_clip, monkeypatch):
    model = CLIP(str(tiny_clip), probability_bins=11)
    model.load(NAMES, CPU)

    def encode(*args, **kwargs):
        raise AssertionError("text features are encoded again")

    monkeypatch.setattr(model.model, "get_text_features", encode)
    for seed in range(3):
        hint = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed)).softmax(-1)
        assert model.distribution(Query(images(), hint)).sum().item() == pytest.approx(4, abs=1e-4)


def test_key_of_the_cache_follows_the_bins(tiny_clip):
    model = CLIP(str(tiny_clip), probability_bins=11)
    a, b, c = torch.tensor([[0.50, 0.50]]), torch.tensor([[0.51, 0.49]]), torch.tensor([[0.6, 0.4]])
    assert (
        model.prompt_keys(Query([None] * 1, a))
        == model.prompt_keys(Query([None] * 1, b))
        != model.prompt_keys(Query([None] * 1, c))
    )
    assert CLIP(str(tiny_clip)).prompt_keys(Query([None] * 1, a)) == [b""]
