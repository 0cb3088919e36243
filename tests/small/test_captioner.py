"""The captioner: beam search against every caption there is, batches, teacher forcing, and that it learns by
heart."""

from itertools import product

import pytest
import torch

from kcm_lightning.small.beam_search import generate
from kcm_lightning.small.captioner import Captioner, PlainCaptioner
from kcm_lightning.utils.tokens import BEGIN, END, PADDING, UNKNOWN

TINY = {"vocab_size": 7, "width": 12, "channels": 8, "depths": (1, 1), "patch": 4}


def make(kind, **options):
    torch.manual_seed(1)
    model = kind(**{**TINY, **options}).eval()
    with torch.no_grad():  # far from uniform, so that beams differ
        model.output[-1].weight.mul_(6)
    return model


def log_probability(model, image, tokens: list[int]) -> float:
    """Of a whole caption, by teacher forcing; what is never said has no part in it."""
    logits = model(image.unsqueeze(0), torch.tensor([tokens]))[0].float()
    logits[:, [PADDING, BEGIN, UNKNOWN]] = float("-inf")
    return logits.log_softmax(-1)[torch.arange(len(tokens)), torch.tensor(tokens)].sum().item()


def said(tokens: torch.Tensor) -> list[int]:
    row = tokens.tolist()
    return row[: row.index(END) + 1]


@pytest.mark.parametrize("kind", [Captioner, PlainCaptioner])
def test_wide_beam_equals_exhaustive_search(kind):
    model, images, max_length = make(kind), torch.randn(4, 3, 16, 16), 4
    words = [n for n in range(7) if n not in (PADDING, BEGIN, END, UNKNOWN)]
    every = [[*body, END] for size in range(max_length) for body in product(words, repeat=size)]
    found = generate(model, images, max_length=max_length, beams=80)
    for row, image in enumerate(images):
        scores = {tuple(caption): log_probability(model, image, caption) for caption in every}
        assert tuple(said(found.tokens[row])) == max(scores, key=scores.get)
        assert found.log_probabilities[row].sum().item() == pytest.approx(max(scores.values()), abs=1e-3)


@pytest.mark.parametrize("kind", [Captioner, PlainCaptioner])
@pytest.mark.parametrize("beams", [1, 3])
def test_batch_of_one_equals_batch_of_many(kind, beams):
    model, images = make(kind, vocab_size=20), torch.randn(32, 3, 16, 16)
    together = generate(model, images, max_length=8, beams=beams)
    for row in range(32):
        alone = generate(model, images[row : row + 1], max_length=8, beams=beams)
        assert torch.equal(alone.tokens[0], together.tokens[row])
        torch.testing.assert_close(
            alone.log_probabilities[0], together.log_probabilities[row], atol=1e-4, rtol=1e-3
        )


@pytest.mark.parametrize("kind", [Captioner, PlainCaptioner])
def test_greedy_takes_the_most_probable_word_and_says_how_probable(kind):
    model, images = make(kind, vocab_size=20), torch.randn(5, 3, 16, 16)
    found = generate(model, images, max_length=8)
    for row, image in enumerate(images):
        caption = said(found.tokens[row])
        assert caption[-1] == END and not found.tokens[row, len(caption) :].any()
        for place in range(min(len(caption), 7)):  # the eighth is the end in any case
            logits = model(image.unsqueeze(0), torch.tensor([caption]))[0, place]
            logits[[PADDING, BEGIN, UNKNOWN]] = float("-inf")
            assert logits.argmax().item() == caption[place]
            stated = found.log_probabilities[row, place].item()
            assert stated == pytest.approx(logits.log_softmax(-1).max().item(), abs=1e-3)


@pytest.mark.parametrize("kind", [Captioner, PlainCaptioner])
def test_a_token_sees_only_those_before_it(kind):
    model, images = make(kind), torch.randn(2, 3, 16, 16)
    tokens = torch.randint(4, 7, (2, 6))
    changed = tokens.clone()
    changed[:, 3] = 4 + (tokens[:, 3] - 3) % 3
    one, other = model(images, tokens), model(images, changed)
    torch.testing.assert_close(one[:, :4], other[:, :4])
    assert not torch.allclose(one[:, 4:], other[:, 4:])


@pytest.mark.slow
def test_learns_32_captions_by_heart():
    from kcm_lightning.metrics.caption_scores import score_captions

    torch.manual_seed(0)
    model = Captioner(vocab_size=60, width=64, channels=16, depths=(1, 1), patch=4, dropout=0.0)
    images = torch.randn(32, 3, 24, 24)
    tokens = torch.cat([torch.randint(4, 60, (32, 7)), torch.full((32, 1), END)], dim=1)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(150):
        logits = model(images, tokens)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = generate(model.eval(), images, max_length=12, beams=2).tokens
    texts = [
        [" ".join(f"w{number}" for number in said(row)[:-1]) for row in rows] for rows in (found, tokens)
    ]
    scores = score_captions(texts[0], [[text] for text in texts[1]], "words", meteor=False)
    assert scores["BLEU-4"] > 0.9


@pytest.mark.parametrize("kind", [Captioner, PlainCaptioner])
def test_mixed_precision_says_nearly_the_same(kind):
    model, images = make(kind, vocab_size=20), torch.randn(8, 3, 16, 16)
    plain = generate(model, images, max_length=8, beams=3)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = generate(model, images, max_length=8, beams=3)
    same = (plain.tokens == mixed.tokens).all(1)
    assert mixed.log_probabilities.dtype == torch.float32 and same.float().mean() > 0.6
    torch.testing.assert_close(
        plain.log_probabilities[same], mixed.log_probabilities[same], atol=0.1, rtol=0.1
    )
