"""Schedules against those of the codes they are from, and the optimizers of two phases."""

import math

import pytest
import torch
from torch import nn

from kcm_lightning.module.optimizers import Phase, phase_optimizer
from kcm_lightning.utils.errors import InputError


def test_the_steps_of_tlc():
    """Learning rate 0.1, a hundredth of it after epoch 160 and again after 180, warm-up in 5 of 200
    epochs."""
    phase = Phase(200, lr=0.1, optimizer="sgd", warmup=0.025, lr_drops=[0.8, 0.9])
    for epoch in range(5, 200):
        expected = 0.1 * (1 if epoch < 160 else 0.01 if epoch < 180 else 0.0001)
        assert phase.lr_after(epoch) == pytest.approx(expected)
    for epoch in range(5):  # TLC rises by steps of a fifth, ours within them
        step = 0.1 * (1 + epoch) / 5
        assert phase.lr_after(epoch) < step <= phase.lr_after(epoch + 1) + 1e-12


def test_no_drops_keep_the_learning_rate_and_the_default_is_half_a_cosine():
    assert {Phase(7, lr=1e-4, warmup=0.0, lr_drops=[]).lr_after(e / 3) for e in range(22)} == {1e-4}
    phase = Phase(10, lr=1.0, warmup=0.2)
    for epoch in (2, 5, 8, 10):
        assert phase.lr_after(epoch) == pytest.approx(0.5 * (1 + math.cos(math.pi * (epoch - 2) / 8)))


def test_one_optimizer_for_phases_that_agree():
    judge, student = nn.Linear(3, 2), nn.Linear(3, 2)
    for kind, made in (("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)):
        phases = [
            ("judge", judge, Phase(1, optimizer=kind)),
            ("student", student, Phase(1, lr=0.5, optimizer=kind)),
        ]
        optimizer = phase_optimizer(phases)
        assert type(optimizer) is made
        decays = {(g["phase"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups}
        assert decays == {
            ("judge", 3e-3, 0.05),
            ("judge", 3e-3, 0.0),
            ("student", 0.5, 0.05),
            ("student", 0.5, 0.0),
        }
    assert all(g["nesterov"] and g["momentum"] == 0.9 for g in optimizer.param_groups)
    with pytest.raises(InputError, match="KCMTwoStage takes different ones"):
        phase_optimizer([("judge", judge, Phase(1, optimizer="sgd")), ("student", student, Phase(1))])


def test_bad_drops():
    with pytest.raises(InputError, match="drops are shares of the phase"):
        Phase(200, lr_drops=[160])


@pytest.mark.parametrize("option", ["lr", "weight_decay"])
@pytest.mark.parametrize("value", [-1e-3, float("nan"), float("inf")])
def test_rates_that_are_no_finite_numbers_are_refused(option, value):
    with pytest.raises(InputError, match=rf"{option}=.* must be"):
        Phase(1, **{option: value})
