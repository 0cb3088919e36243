"""Costs of three large models, each against a count by hand: CLIP with probability prompts, BERT, chat."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from kcm_lightning.core.collaboration import Roles, class_predictor
from kcm_lightning.core.predictions import Query
from kcm_lightning.large import CLIP, TextClassifier
from kcm_lightning.large.budget import Prices
from kcm_lightning.results.costs import collaboration_costs, measured_costs
from kcm_lightning.results.usage import usage_of
from tests.large.chat_server import ChatServer
from tests.large.test_chat import chat, reviews

CPU = torch.device("cpu")
TRAINER = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)


class Module:
    """What costs are measured of: one linear layer as judge and as student."""

    device = CPU

    def __init__(self, teacher, features, classes):
        self.teacher = teacher
        judge, student = (class_predictor(nn.Linear(features, classes)) for _ in range(2))
        self.roles = Roles(judge, student, teacher)


def linear(inputs: int, outputs: int) -> int:
    """FLOPs of a product with a matrix: a multiplication and an addition for each weight."""
    return 2 * inputs * outputs


def test_clip_with_a_prompt_for_each_probability(tiny_clip):
    names, bins = [f"class{i}" for i in range(5)], 11
    model = CLIP(str(tiny_clip), templates=["a photo of a {label}."], probability_bins=bins)
    model.load(names, CPU)
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    batch = {"small": torch.randn(8, 6), "large": images, "index": torch.arange(8)}
    found = measured_costs(TRAINER, Module(model, 6, 5), batch)
    with FlopCounterMode(display=False) as encoder:
        model.model.get_image_features(**model.processor(images=list(images), return_tensors="pt"))
    compared = linear(model._text.shape[-1], (bins + 1) * 5)  # with every prompt, plain ones among them
    assert found["large model"]["flops"] == encoder.get_total_flops() / 8 + compared
    assert found["judge"]["flops"] == found["student"]["flops"] == linear(6, 5)
    costs = collaboration_costs(
        {"samples": 10, "routes": {"judge": 4}, "lm_rate": {"called": 0.3}, "costs": found}
    )["flops"]
    by_hand = linear(6, 5) * (1 + 0.6) + 0.3 * found["large model"]["flops"]
    assert costs["together"] == pytest.approx(by_hand)


def test_bert_by_its_layers(tiny_bert):
    model = TextClassifier(str(tiny_bert))
    model.load(["negative", "positive"], CPU)
    texts = ["the cable is good"] * 4
    batch = {"small": torch.randn(4, 6), "large": texts, "index": torch.arange(4)}
    found = measured_costs(TRAINER, Module(model, 6, 2), batch)["large model"]
    tokens = len(model._tokenizer(texts[0])["input_ids"])
    width, inner, layers = 32, 64, 2
    projections = 4 * linear(width, width) + linear(width, inner) + linear(inner, width)
    attention = 2 * linear(width, tokens)  # with every token: weights, then values
    by_hand = tokens * layers * (projections + attention) + linear(width, width) + linear(width, 2)
    assert found["flops"] == by_hand


def test_chat_by_its_price_list(tmp_path):
    texts, prices = reviews(20), Prices(input=2.0, output=8.0)  # for a million tokens
    with ChatServer() as server:
        model = chat(server, tmp_path, prices=prices)
        model.answer(Query(texts))
        called = torch.arange(40) < 10
        usage = usage_of(model, called)
    by_hand = (2.0 * usage["tokens_in"] + 8.0 * usage["tokens_out"]) / 1e6 / 20
    assert usage["money_per_1000_questions"] == pytest.approx(1000 * by_hand)
    assert usage["money_per_1000_samples"] == pytest.approx(250 * by_hand)
    costs = {who: {"flops": 1.0, "milliseconds": 1.0, "joules": None} for who in ("judge", "student")}
    found = {
        "samples": 40,
        "routes": {"judge": 0},
        "lm_rate": {"called": 0.25},
        "costs": costs,
        "large_model": usage,
    }
    money = collaboration_costs(found)
    assert list(money) == ["money"] and money["money"]["together"] == pytest.approx(0.25 * by_hand)
    assert money["money"]["ratio"] == pytest.approx(0.25) and money["money"]["break_even_lm_rate"] == 1.0
