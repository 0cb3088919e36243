"""Scores out of single images against COCO's scorer on the corpus, and mixes against scoring the mix
itself."""

import pytest
import torch

from kcm_lightning.metrics.caption_scores import score_captions, tokenize
from kcm_lightning.metrics.image_scores import (
    ImageScores,
    caption_curve,
    curve_half_widths,
    image_scores,
    random_mix,
    random_scores,
    score_difference,
)

REFERENCES = [
    ["a brown dog is running over grass", "a dog runs in the grass"],
    ["two men play with a ball on grass", "men and a ball"],
    ["a red bus stops at the kerb", "the bus"],
    ["a man rides a horse on the beach", "a horse and a man by the sea"],
]
SMALL = ["a dog runs", "a man with a ball on grass", "a red bus stops at the street", "a dog on the beach"]
LARGE = ["a brown dog is running", "two men play with a ball", "", "a man rides a horse on the beach"]
CONFIDENCE = torch.tensor([0.5, 0.9, 0.1, 0.5])


@pytest.fixture(scope="module")
def systems():
    found = tokenize({"small": SMALL, "large": LARGE}, REFERENCES, "words")
    return [image_scores(found.systems[name], found.references) for name in ("small", "large")]


def corpus(captions) -> dict[str, float]:
    return score_captions(captions, REFERENCES, "words", meteor=False)


def test_images_add_up_to_the_corpus(systems):
    for captions, scores in zip((SMALL, LARGE), systems, strict=True):
        wanted, found = corpus(captions), scores.scores()
        assert set(found) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "CIDEr"}
        assert found == pytest.approx({name: wanted[name] for name in found}, rel=1e-9)


def test_a_mix_is_scored_as_its_captions_are(systems):
    who = torch.tensor([1, 0, 1, 0])
    wanted = corpus([(SMALL, LARGE)[w][i] for i, w in enumerate(who.tolist())])
    found = ImageScores.chosen(systems, who).scores()
    assert found == pytest.approx({name: wanted[name] for name in found}, rel=1e-9)


def test_curve_is_the_loop_over_lm_rates(systems):
    curve = caption_curve(CONFIDENCE, *systems)
    order = [2, 0, 3, 1]  # least confident first, ties as they stand
    for calls in range(5):
        wanted = corpus([LARGE[i] if i in order[:calls] else SMALL[i] for i in range(4)])
        assert curve["LM rate"][calls] == calls / 4
        assert curve["BLEU-4"][calls].item() == pytest.approx(wanted["BLEU-4"], rel=1e-9)
        assert curve["CIDEr"][calls].item() == pytest.approx(wanted["CIDEr"], rel=1e-9)


def test_random_router_goes_from_one_model_to_the_other(systems):
    small, large = systems
    assert random_scores(0.0, small, large) == pytest.approx(small.scores())
    assert random_scores(1.0, small, large) == pytest.approx(large.scores())
    assert random_scores(0.25, small, large)["CIDEr"] == pytest.approx(
        0.75 * corpus(SMALL)["CIDEr"] + 0.25 * corpus(LARGE)["CIDEr"]
    )


def test_interval_of_a_difference_is_that_of_a_naive_bootstrap():
    generator = torch.Generator().manual_seed(1)
    count = 60
    said = torch.randint(6, 12, (count,), generator=generator).double()

    def system(share: float) -> ImageScores:
        total = torch.stack([said - n for n in range(4)], 1)
        matched = (total * share * torch.rand(count, 4, generator=generator)).round()
        return ImageScores(
            torch.cat([torch.stack([said, said + 1], 1), total, matched], 1),
            torch.rand(count, generator=generator).double(),
        )

    one, other = system(0.9), system(0.6)
    found = score_difference(one, other)
    drawn = {"BLEU-4": [], "CIDEr": []}
    for _ in range(1500):
        rows = torch.randint(count, (count,), generator=generator)
        mine, others = one.rows(rows).scores(), other.rows(rows).scores()
        for name, values in drawn.items():
            values.append(mine[name] - others[name])
    for name, values in drawn.items():
        low, high = torch.tensor(values).quantile(torch.tensor([0.025, 0.975])).tolist()
        assert found[name]["difference"] == pytest.approx(one.scores()[name] - other.scores()[name])
        width = high - low
        assert found[name]["low"] == pytest.approx(low, abs=0.1 * width)
        assert found[name]["high"] == pytest.approx(high, abs=0.1 * width)
    assert score_difference(one, one)["CIDEr"] == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_intervals_of_the_curve_are_those_of_resampled_corpora(systems):
    torch.manual_seed(2)
    many = torch.randint(4, (60,))
    small, large = (system.rows(many) for system in systems)
    confidence = torch.rand(60)
    found = curve_half_widths(confidence, small, large, rates=3, draws=2_000)
    who = (confidence.argsort().argsort() < 30).long()  # half of them
    mix = ImageScores.chosen([small, large], who)
    drawn = [mix.rows(torch.randint(60, (60,))).scores() for _ in range(2_000)]
    for name in ("BLEU-4", "CIDEr"):
        spread = 1.96 * torch.tensor([scores[name] for scores in drawn]).double().std().item()
        assert found[name].shape == (61,) and found[name][30].item() == pytest.approx(spread, rel=0.1)


def test_a_random_mix_scores_what_the_random_router_does(systems):
    assert random_mix(0.3, *systems).scores() == random_scores(0.3, *systems)
