"""Promises: how often they are broken on data that are drawn anew, and what they keep."""

import pytest
import torch

from kcm_lightning.calibrate.answers import ClassAnswers
from kcm_lightning.calibrate.bounds import p_value
from kcm_lightning.calibrate.certificate import candidates, certify
from kcm_lightning.calibrate.target import Target
from kcm_lightning.calibrate.thresholds import choose_thresholds, judge_threshold
from kcm_lightning.core.routing import Route, Thresholds

DROP = Target("accuracy_drop", 0.02)


def drawn(samples: int, seed: int, ties: bool = False) -> ClassAnswers:
    """A student that is right as often as its gate says, and a large model that is right in 80 %."""
    generator = torch.Generator().manual_seed(seed)
    score, chance, large, fused = torch.rand(4, samples, generator=generator)
    if ties:
        score = (score * 4).round() / 4
    right = chance < score
    return ClassAnswers(
        judge_confidence=score,
        gate_score=score,
        student_doubt=torch.zeros(samples),
        judge_right=right,
        student_right=right,
        teacher_right=large < 0.8,
        fused_right=(large < 0.8) | (fused < 0.1),
    )


def drop_of(thresholds: Thresholds, unseen: ClassAnswers) -> float:
    right = unseen.right(unseen.routes(thresholds)).double().mean()
    return (unseen.teacher_right.double().mean() - right).item()


@pytest.mark.parametrize("bound", ["exact", "harms", "betting"])
@pytest.mark.parametrize("ties", [False, True])
def test_a_promise_is_seldom_broken(bound, ties):
    unseen, broken, kept = drawn(200_000, 9_999, ties), 0, []
    for seed in range(100):
        chosen = candidates(drawn(100, 1_000 + seed, ties), judge=None)
        found = certify(drawn(400, seed, ties), DROP, chosen, bound=bound)
        thresholds = found.thresholds or Thresholds(None, None)
        broken += drop_of(thresholds, unseen) > DROP.value
        kept.append(1 - unseen.lm_rate(thresholds))
    assert broken <= 5 + 2 * (100 * 0.05 * 0.95) ** 0.5
    if bound == "exact":
        assert sum(kept) / 100 > 0.1


def test_the_lowest_empirical_drop_breaks_it_often():
    unseen = drawn(200_000, 9_999)
    broken = sum(
        drop_of(choose_thresholds(drawn(400, seed), DROP), unseen) > DROP.value for seed in range(60)
    )
    assert broken > 12


def test_it_ends_at_the_first_failure():
    answers, chosen = drawn(2_000, 0), candidates(drawn(500, 1), judge=None)
    assert [own.student for own in chosen] == sorted((own.student for own in chosen), reverse=True)
    found = certify(answers, DROP, chosen)
    tests = []
    for own in chosen:
        tests.append(p_value(answers.losses(answers.routes(own), DROP), DROP.limit, "exact") <= 0.05)
        if not tests[-1]:
            break
    assert not all(tests) and found.thresholds == chosen[len(tests) - 2]
    routes = answers.routes(found.thresholds)
    assert found.lm_rate == (routes == Route.TEACHER).double().mean().item()
    assert found.p_value <= 0.05 and found.loss == pytest.approx(drop_of(found.thresholds, answers))


def test_a_target_is_kept_in_each_region():
    answers = drawn(4_000, 0)
    regions = torch.arange(4_000) % 4 // 3  # one of three quarters, one of a quarter
    rare = regions == 1
    answers.student_right[rare] = answers.judge_right[rare] = False
    chosen = candidates(drawn(500, 1), judge=None)
    overall, each = certify(answers, DROP, chosen), certify(answers, DROP, chosen, regions=regions)
    assert overall.thresholds is not None and overall.lm_rate < 1
    assert each.thresholds is None or each.lm_rate > overall.lm_rate


def test_what_cannot_be_shown_is_not_promised():
    few, chosen = drawn(20, 0), candidates(drawn(100, 1), judge=None)
    found = certify(few, Target("accuracy_drop", 0.001), chosen)
    assert found.thresholds is None and found.p_value is None and found.samples_needed > 1_000
    hopeless = drawn(400, 0)
    hopeless.judge_right[:] = hopeless.student_right[:] = hopeless.fused_right[:] = False
    found = certify(hopeless, DROP, chosen)
    assert found.thresholds is None and found.samples_needed is None


def test_about_as_many_samples_as_it_says_suffice():
    target = Target("accuracy_drop", 0.01)
    chosen = candidates(drawn(500, 1), judge=None)[:5]  # strict ones
    few = drawn(150, 3)
    few.fused_right = few.teacher_right  # nothing to gain
    needed = certify(few, target, chosen).samples_needed
    assert 200 < needed < 1_000
    passed = 0
    for seed in range(20):
        many = drawn(2 * needed, 100 + seed)
        many.fused_right = many.teacher_right
        passed += certify(many, target, chosen).thresholds is not None
    assert passed >= 10


def test_a_large_model_that_is_worse_is_not_called():
    answers = drawn(2_000, 0)
    answers.teacher_right = answers.fused_right = torch.zeros(2_000, dtype=torch.bool)
    found = certify(answers, DROP, candidates(drawn(500, 1), judge=None))
    assert found.lm_rate < 0.05


def test_an_accuracy_can_be_promised():
    answers, chosen = drawn(3_000, 0), candidates(drawn(500, 1), judge=None)
    found = certify(answers, Target("accuracy", 0.8), chosen, bound="harms")
    assert found.thresholds is not None and found.loss < 0.2 and 0 < found.lm_rate < 1


def test_candidates_are_those_of_other_samples():
    fitted_on = drawn(300, 5)
    fitted_on.judge_confidence = torch.ones(300)
    judge = judge_threshold(fitted_on)
    assert all(own.judge == max(judge, own.student) for own in candidates(fitted_on, judge))
    one = drawn(50, 0)
    one.gate_score = torch.ones(50)  # all equal: one threshold keeps all
    assert candidates(one, None) == [Thresholds(None, 1.0)]
