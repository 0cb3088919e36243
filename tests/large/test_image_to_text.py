"""ImageToText held to Hugging Face's own `generate` and forward pass, with tiny random BLIP-2 and GIT."""

import numpy as np
import pytest
import torch
from PIL import Image

from kcm_lightning.core.predictions import Prediction, Purpose, Query
from kcm_lightning.large import ImageToText
from kcm_lightning.utils.errors import InputError
from tests.large.other_captioners import save_blip, save_git


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("images"), np.random.RandomState(0)
    paths = []
    for number in range(5):
        paths.append(str(folder / f"{number}.png"))
        Image.fromarray(random.randint(0, 255, (20, 24, 3), dtype=np.uint8)).save(paths[-1])
    return paths


def load(folder, **options) -> ImageToText:
    model = ImageToText(str(folder), max_new_tokens=6, **options)
    model.load([], torch.device("cpu"))
    return model


def one_by_one(model: ImageToText, path: str, prompt: str | None) -> tuple[str, float]:
    """Hugging Face's `generate` for one image, and the probability of its tokens by a plain forward pass."""
    image = Image.open(path).convert("RGB")
    asked = {} if prompt is None else {"text": [prompt]}
    batch = model.processor(images=[image], return_tensors="pt", **asked)
    batch["pixel_values"] = batch["pixel_values"].to(model.model.dtype)
    made = model.model.generate(**batch, num_beams=model.beams, do_sample=False, max_new_tokens=6)
    tokens = made[0].tolist()
    image = model.model.config.image_token_index
    start = batch["input_ids"][0].tolist() if prompt else [image] * 4 + [1]
    if tokens[: len(start)] == start:
        tokens = tokens[len(start) :]
    if 2 in tokens:
        tokens = tokens[: tokens.index(2) + 1]
    ids = torch.tensor([[*start, *tokens]])
    logits = model.model(
        pixel_values=batch["pixel_values"], input_ids=ids, attention_mask=torch.ones_like(ids)
    ).logits.float()
    steps = logits[0, len(start) - 1 : -1].log_softmax(-1)
    said = steps[torch.arange(len(tokens)), torch.tensor(tokens)]
    return model.processor.decode(tokens, skip_special_tokens=True).strip(), said.mean().exp().item()


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("prompt", [None, "a photo of"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_blip2_says_what_generate_says(tiny_blip2, images, beams, prompt, precision):
    model = load(tiny_blip2, beams=beams, prompt=prompt, precision=precision)
    answer = model.answer(Query(images))
    tolerance = 1e-3 if precision == "float32" else 0.05
    for row, path in enumerate(images):
        caption, confidence = one_by_one(model, path, prompt if prompt is not None else None)
        if precision == "float32":  # in half precision a batch rounds otherwise than a single row
            assert answer.prediction[row] == caption
        if answer.prediction[row] == caption:
            assert answer.confidence[row].item() == pytest.approx(confidence, abs=tolerance)
    assert answer.confidence.dtype == torch.float32 and len(set(answer.prediction)) > 1


def test_hint_goes_before_the_prompt(tiny_blip2, images):
    model = load(
        tiny_blip2, beams=1, prompt="a photo of", hint="small model says : {label} {probability:.0%}"
    )
    hint = Prediction(["the dog", "a man on grass"], torch.tensor([0.25, 0.5]))
    answer = model.answer(Query(images[:2], hint))
    for row, sentence in enumerate(
        ("small model says : the dog 25%", "small model says : a man on grass 50%")
    ):
        assert answer.prediction[row] == one_by_one(model, images[row], f"{sentence} a photo of")[0]
    assert model.uses_hint and load(tiny_blip2).identity != model.identity


def test_bad_input(tiny_blip2, tmp_path):
    with pytest.raises(InputError, match="is neither a folder"):
        ImageToText("nobody/nothing").load([], torch.device("cpu"))
    with pytest.raises(InputError, match=r"precision='int4' is none of"):
        ImageToText("x", precision="int4")
    with pytest.raises(InputError, match="needs a GPU and bitsandbytes"):
        ImageToText(str(tiny_blip2), precision="int8").load([], torch.device("cpu"))
    with pytest.raises(InputError, match=r"teacher\.hint"):
        ImageToText("x", hint="{nothing}")


def test_steps_are_the_distributions_of_a_plain_forward_pass(tiny_blip2, images):
    for beams in (1, 3):
        model = load(tiny_blip2, beams=beams, prompt="a photo of")
        steps = model.caption(Query(images, purpose=Purpose.FIT), with_steps=True).steps
        for row, path in enumerate(images):
            tokens = [token for token in steps.tokens[row].tolist() if token >= 0]
            batch = model.processor(
                images=[Image.open(path).convert("RGB")], text=["a photo of"], return_tensors="pt"
            )
            start = batch["input_ids"][0].tolist()
            ids = torch.tensor([[*start, *tokens]])
            logits = model.model(
                pixel_values=batch["pixel_values"], input_ids=ids, attention_mask=torch.ones_like(ids)
            ).logits.float()
            wanted = logits[0, len(start) - 1 : -1].softmax(-1)
            for place in range(len(tokens)):
                found = torch.zeros(wanted.shape[1]).scatter(
                    0, steps.topk_tokens[row, place], steps.topk_probs[row, place]
                )
                kept = found > 0
                torch.testing.assert_close(found[kept], wanted[place][kept], atol=1e-4, rtol=1e-3)
                assert found.sum() > 0.5 and kept.sum() == 20
            assert (steps.topk_tokens[row, len(tokens) :] == -1).all()


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("save", [save_blip, save_git])
def test_captions_of_others_are_the_same_alone_and_together(save, beams, images, tmp_path):
    model = ImageToText(str(save(tmp_path)), beams=beams, max_new_tokens=12, hint="{label}")
    model.load([], torch.device("cpu"))
    hints = ["the dog", "a man", "red wall", "blue cat", "on grass"]  # so that captions differ
    together = model.caption(
        Query(images, Prediction(hints, torch.ones(5)), purpose=Purpose.FIT), with_steps=True
    )
    assert (together.steps.tokens < 0).any() or save is save_git  # they are not all equally long
    for row, path in enumerate(images):
        alone = model.caption(
            Query([path], Prediction(hints[row : row + 1], torch.ones(1)), purpose=Purpose.FIT),
            with_steps=True,
        )
        assert alone.prediction[0] == together.prediction[row]
        assert alone.confidence[0].item() == pytest.approx(together.confidence[row].item(), abs=1e-4)
        own = [token for token in together.steps.tokens[row].tolist() if token >= 0]
        assert own == [token for token in alone.steps.tokens[0].tolist() if token >= 0]
        assert together.steps.end == 3 and (3 not in own[:-1])


@pytest.mark.parametrize("save", [save_blip, save_git])
def test_hints_of_unequal_length_do_not_disturb_each_other(save, images, tmp_path):
    model = load(save(tmp_path), beams=1, hint="{label}", batch_size=2)
    hints = ["the dog", "a man on grass", "red wall", "blue cat photo says small", "white"]
    together = model.answer(Query([images[0]] * 5, Prediction(hints, torch.ones(5))))
    for row, hint in enumerate(hints):
        alone = model.answer(Query(images[:1], Prediction([hint], torch.ones(1))))
        assert alone.prediction[0] == together.prediction[row]
        assert alone.confidence[0].item() == pytest.approx(together.confidence[row].item(), abs=1e-4)


def test_git_goes_on_from_its_prompt(images, tmp_path):
    model = load(save_git(tmp_path), beams=1, prompt="a photo of")
    image = Image.open(images[0]).convert("RGB")
    pixels = model.processor(images=[image], return_tensors="pt")["pixel_values"]
    ids = torch.tensor([model.tokenizer("a photo of", add_special_tokens=False)["input_ids"]])
    ids = torch.cat(
        [torch.tensor([[2]]), ids], dim=1
    )  # Hugging Face's documented use: [CLS] and the prompt, no separator
    wanted = model.model.generate(pixel_values=pixels, input_ids=ids, max_new_tokens=6, do_sample=False)[
        0, ids.shape[1] :
    ]
    assert (
        model.answer(Query(images[:1])).prediction[0]
        == model.processor.decode(wanted, skip_special_tokens=True).strip()
    )


@pytest.mark.parametrize("beams", [1, 2])
def test_a_model_that_overflows_has_no_answer(tiny_blip2, images, beams):
    model = load(tiny_blip2, beams=beams)
    with torch.no_grad():
        model.model.language_model.lm_head.weight.fill_(float("nan"))
    answer = model.answer(Query(images[:2]))
    assert answer.prediction == [None, None] and answer.confidence.isnan().all()
