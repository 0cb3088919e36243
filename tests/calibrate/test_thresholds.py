"""Temperature and thresholds against brute force."""

import time

import pytest
import torch

from kcm_lightning.calibrate import KCMTrainer
from kcm_lightning.calibrate.answers import ClassAnswers
from kcm_lightning.calibrate.target import Prices, Target
from kcm_lightning.calibrate.temperatures import fit_temperature
from kcm_lightning.calibrate.thresholds import choose_thresholds, expected_on_unseen, judge_threshold
from kcm_lightning.core.routing import Route, Thresholds
from kcm_lightning.utils.errors import InputError


def synthetic(samples: int, seed: int = 0) -> ClassAnswers:
    """Calibrated models: right with the probability that they state."""
    generator = torch.Generator().manual_seed(seed)
    judge, student = (torch.rand(samples, generator=generator) for _ in range(2))
    rights = [torch.rand(samples, generator=generator) < c for c in (judge, student)]
    doubt = (student - judge).clamp_min(0)
    teacher, fused = (torch.rand(samples, generator=generator) < share for share in (0.7, 0.75))
    return ClassAnswers(judge, student, doubt, *rights, teacher_right=teacher, fused_right=fused)


def replay(answers: ClassAnswers, thresholds: Thresholds) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether the collaboration is right, and whether it calls the large model."""
    routes = answers.routes(thresholds)
    return answers.right(routes), routes == Route.TEACHER


def test_temperature_is_recovered():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 5, generator=generator) * 2
    target = torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
    assert fit_temperature(logits * 3, target) == pytest.approx(3.0, rel=0.05)
    assert fit_temperature(logits * 0.4, target) == pytest.approx(0.4, rel=0.05)


def test_replay_is_the_loop_over_samples():
    answers, thresholds = synthetic(300), Thresholds(0.8, 0.6)
    right, called = replay(answers, thresholds)
    for i in range(300):
        if answers.judge_confidence[i] >= 0.8:
            expected = answers.judge_right[i], False
        elif answers.gate_score[i] >= 0.6:
            expected = answers.student_right[i], False
        else:
            expected = answers.fused_right[i], True
        assert (right[i].item(), called[i].item()) == (expected[0].item(), expected[1])


def test_a_drop_is_against_the_large_model_alone():
    """Fused answers are better than its own, so that even no drop leaves room for the small models."""
    answers = synthetic(2000)
    routes = answers.routes(choose_thresholds(answers, Target("accuracy_drop", 0.0)))
    alone = answers.teacher_right.double().mean()
    assert answers.quality_of_large("accuracy") == alone < answers.fused_right.double().mean()
    assert answers.quality(routes, "accuracy") >= alone and (routes != Route.TEACHER).any()
    against = answers.intervals(routes, 0.95)["accuracy_minus_teacher"]["mean"]
    assert against == pytest.approx(answers.quality(routes, "accuracy") - alone.item())


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.75, 1.0])
def test_lm_rate_is_met_and_nearly_used_up(rate):
    answers = synthetic(1000)
    thresholds = choose_thresholds(answers, Target("lm_rate", rate))
    realised = replay(answers, thresholds)[1].double().mean().item()
    assert rate - 0.005 <= realised <= rate


@pytest.mark.parametrize("seed", range(20))
def test_a_stricter_target_never_chooses_worse(seed):
    answers = synthetic(100 + 40 * seed, seed)
    drops = [0.0, 0.005, 0.01, 0.03, 0.1]
    found = [replay(answers, choose_thresholds(answers, Target("accuracy_drop", drop))) for drop in drops]
    right = [own.double().mean().item() for own, _ in found]
    calls = [called.double().mean().item() for _, called in found]
    assert all(right[0] >= other for other in right) and calls == sorted(calls, reverse=True)


def test_accuracy_drop_takes_the_fewest_calls_that_hold_it():
    answers = synthetic(1000)
    thresholds = choose_thresholds(answers, Target("accuracy_drop", 0.01))
    floor = answers.teacher_right.double().mean() - 0.01
    right, _ = replay(answers, thresholds)
    assert right.double().mean() >= floor
    for lower in torch.linspace(0, thresholds.student - 0.01, 20).tolist():
        judge = max(judge_threshold(answers), lower)
        assert replay(answers, Thresholds(judge, lower))[0].double().mean() < floor


def test_judge_threshold_is_the_lowest_that_the_expected_loss_allows():
    answers = synthetic(300)
    answers.judge_confidence = (answers.judge_confidence * 20).round() / 20  # ties
    for tolerance in (0.0, 0.001, 0.01, 0.1):
        losses = {
            c: sum(
                d
                for d, own in zip(
                    answers.student_doubt.tolist(), answers.judge_confidence.tolist(), strict=True
                )
                if own >= c
            )
            for c in answers.judge_confidence.tolist()
        }
        allowed = [c for c, loss in losses.items() if loss <= tolerance * 300]
        assert judge_threshold(answers, tolerance) == (min(allowed) if allowed else None)


def test_judge_costs_on_unseen_data_what_was_expected():
    """A judge that is sure of too much, beside a calibrated student that gives its answer half of its own
    probability."""

    def draw(samples, seed):
        generator = torch.Generator().manual_seed(seed)
        judge, belief, chance = (torch.rand(samples, generator=generator) for _ in range(3))
        differs = torch.rand(samples, generator=generator) < 1.1 - judge
        student = 0.4 + 0.6 * belief
        doubt = torch.where(differs, student - (1 - student) / 2, 0.0)
        judge_right = torch.where(
            differs, (chance >= student) & (chance < student + (1 - student) / 2), chance < student
        )
        every = chance < 2
        return ClassAnswers(judge, student, doubt, judge_right, chance < student, every, fused_right=every)

    unseen, tolerance = draw(100_000, 99), 0.005
    for seed in range(5):
        kept = unseen.judge_confidence >= judge_threshold(draw(1000, seed), tolerance)
        loss = (unseen.student_right.double() - unseen.judge_right.double())[kept].sum().item() / 100_000
        assert kept.any() and 0.3 * tolerance < loss < 2 * tolerance


def test_impossible_accuracy_sends_everything_to_the_large_model():
    answers = synthetic(100)
    answers.judge_right[:] = answers.student_right[:] = False
    answers.teacher_right[:] = True
    _, called = replay(answers, choose_thresholds(answers, Target("accuracy_drop", 0.0)))
    assert called.all()


@pytest.mark.parametrize("judge", [None, 0.7])
def test_many_thresholds_at_once_are_each_replayed(judge):
    answers = synthetic(500)
    for name in ("judge_confidence", "gate_score"):
        setattr(answers, name, (getattr(answers, name) * 20).round() / 20)  # ties
    scores = torch.rand(50).sort().values.double()
    lm_rates, qualities = answers.lm_rates(judge, scores), answers.qualities(judge, scores, "accuracy")
    for score, rate, quality in zip(scores.tolist(), lm_rates, qualities, strict=True):
        chosen = Thresholds(None if judge is None else max(judge, score), score)
        right, called = replay(answers, chosen)
        assert called.double().mean().item() == pytest.approx(rate.item())
        assert right.double().mean().item() == pytest.approx(quality.item())


def test_an_accuracy_is_reached_with_the_fewest_calls():
    answers = synthetic(1000)
    right, called = replay(answers, choose_thresholds(answers, Target("accuracy", 0.7)))
    assert right.double().mean() >= 0.7 and called.double().mean() < 0.6
    assert replay(answers, choose_thresholds(answers, Target("accuracy", 0.99)))[1].all()  # out of reach


@pytest.mark.slow
@pytest.mark.parametrize("target", ["lm_rate=0.6", "accuracy_drop=0.0", "accuracy_drop=0.02"])
@pytest.mark.parametrize("samples", [100, 500])
def test_intervals_cover_what_as_many_new_samples_show(target, samples):
    """Chosen on some samples, checked on as many others, 60 times: at least 95 % but for sampling."""
    goal, hits = Target.parse(target), {"lm_rate": 0, "accuracy": 0, "accuracy_minus_teacher": 0}
    for seed in range(60):
        answers, unseen = synthetic(samples, seed), synthetic(samples, 1_000 + seed)
        expected = expected_on_unseen(answers, goal)
        routes = unseen.routes(choose_thresholds(answers, goal))
        seen = {"lm_rate": (routes == Route.TEACHER).double().mean().item()} | unseen.means(routes)
        for name in hits:
            hits[name] += expected[name]["low"] <= seen[name] <= expected[name]["high"]
    assert min(hits.values()) >= 53  # of 57 expected at least; below by chance in less than 3 of 100 cases


@pytest.mark.slow
def test_one_pass_answers_every_threshold():
    """Ten thousand samples, a thousand thresholds, all targets."""
    answers, prices = synthetic(10_000), Prices(1.0, 2.0, 10.0)
    began = time.perf_counter()
    for text in ("lm_rate=0.5", "accuracy=0.7", "accuracy_drop=0.01"):
        choose_thresholds(answers, Target.parse(text), steps=1_000)
    for kind in ("cost", "seconds", "flops"):
        choose_thresholds(answers, Target(kind, 6.0, prices), steps=1_000)
    assert time.perf_counter() - began < 2.0


@pytest.mark.slow
def test_a_million_samples_are_calibrated_on():
    answers = synthetic(1_000_000)
    began = time.perf_counter()
    chosen = choose_thresholds(answers, Target("accuracy_drop", 0.01))
    expected = expected_on_unseen(answers, Target("accuracy_drop", 0.01))
    assert time.perf_counter() - began < 30.0
    assert expected["lm_rate"]["mean"] == pytest.approx(answers.lm_rate(chosen), abs=0.01)


@pytest.mark.parametrize("text", ["lm_rate", "lm_rate=2", "accuracy=1.5", "lm_rate=x", ""])
def test_bad_targets_are_refused(text):
    with pytest.raises(InputError, match="is none of lm_rate=X, accuracy=X, accuracy_drop=X"):
        Target.parse(text)
    assert Target.parse("lm_rate=0.75") == Target("lm_rate", 0.75)


def test_a_report_does_not_overwrite_the_thresholds():
    with pytest.raises(InputError, match="is to be a YAML"):
        KCMTrainer(logger=False).calibrate(None, None, output="gates.json")
