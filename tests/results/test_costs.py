"""Costs and break-even against counts by hand."""

import lightning as L
import pytest
import torch
from torch import nn

from kcm_lightning.core.collaboration import Roles, class_predictor
from kcm_lightning.large.base import LargeClassifier
from kcm_lightning.results.costs import collaboration_costs, costs_in_words, measured_costs

TRAINER = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)


class Product(LargeClassifier):
    """A large model of one product."""

    def __init__(self, paid: bool = False):
        self.paid, self.layer = paid, nn.Linear(12, 4)

    def load(self, class_names, device):
        return

    identity = "product"

    def distribution(self, query):
        return self.layer(query.inputs).softmax(-1).unsqueeze(1)


class Module:
    """What costs are measured of."""

    device = torch.device("cpu")

    def __init__(self, teacher):
        self.teacher = teacher
        self.roles = Roles(class_predictor(nn.Linear(6, 4)), class_predictor(nn.Linear(6, 4)), teacher)


BATCH = {"small": torch.randn(100, 6), "large": torch.randn(100, 12), "index": torch.arange(100)}


def test_flops_are_those_of_the_modules():
    found = measured_costs(TRAINER, Module(Product()), BATCH)
    assert found["samples"] == 64 and found["device"] == "cpu" and found["threads"] == torch.get_num_threads()
    assert found["judge"]["flops"] == found["student"]["flops"] == 2 * 6 * 4
    assert found["large model"]["flops"] == 2 * 12 * 4
    assert all(found[who]["milliseconds"] > 0 for who in ("judge", "student", "large model"))


def test_a_paid_model_is_not_asked():
    assert "large model" not in measured_costs(TRAINER, Module(Product(paid=True)), BATCH)


def results(judge, student, large, **more):
    costs = {
        who: {"milliseconds": value, "flops": None, "joules": None}
        for who, value in (("judge", judge), ("student", student), ("large model", large))
    }
    return {"samples": 100, "routes": {"judge": 25}, "lm_rate": {"called": 0.6}, "costs": costs} | more


def test_break_even_by_hand():
    found = collaboration_costs(results(1.0, 2.0, 10.0))
    assert list(found) == ["milliseconds"]
    own = found["milliseconds"]
    assert own["small"] == 1.0 + 0.75 * 2.0 and own["together"] == pytest.approx(2.5 + 6.0)
    assert own["ratio"] == pytest.approx(0.85) and own["break_even_lm_rate"] == 0.75


def test_it_is_said_in_plain_words():
    (said,) = costs_in_words(results(1.0, 2.0, 10.0))
    assert said == (
        "time: KCM takes 0.85 of the large model alone at an LM rate of 60.0 %; it pays below an LM rate of "
        "75.0 % (small models 2.5 ms a sample, large model 10 ms)"
    )
    assert (
        "it does not pay here, only below an LM rate of 25.0 %" in costs_in_words(results(3.0, 6.0, 10.0))[0]
    )
    dear = costs_in_words(results(40.0, 40.0, 10.0))[0]
    assert "it does not pay at any LM rate: the small models alone take 7.0 times as much" in dear


def test_money_is_that_of_the_price_list():
    priced = {"money_per_1000_questions": 2.0, "currency": "USD"}
    found = results(1.0, 2.0, None, large_model=priced)
    money = collaboration_costs(found)["money"]
    assert money["large"] == 0.002 and money["together"] == pytest.approx(0.0012)
    (said,) = costs_in_words(found)
    assert said.startswith("money: KCM takes 0.60 of the large model alone") and "0.002 USD" in said
