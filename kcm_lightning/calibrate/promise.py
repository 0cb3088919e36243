"""What a user wants to be promised of the thresholds, and what can be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kcm_lightning.calibrate.answer_recorder import Recorded
from kcm_lightning.calibrate.bounds import Bound
from kcm_lightning.calibrate.certificate import Certificate, candidates, certify
from kcm_lightning.calibrate.target import Target
from kcm_lightning.calibrate.thresholds import judge_threshold
from kcm_lightning.utils.errors import InputError


@dataclass
class Promise:
    """How sure the target is to be kept, on all samples or in each region.

    Args:
        confidence: probability that it is kept, at least, a fraction.
        bound: the test; None for the one that promises most.
        by: "region" for a target that is kept in each region; None for all samples together.
    """

    confidence: float
    bound: Bound | None = None
    by: Literal["region"] | None = None

    def check(self, goal: Target) -> None:
        """Refuses what cannot be promised.

        Raises:
            InputError: it is no quality, the confidence is no probability, or the test is not for such
                scores.
        """
        if not goal.is_quality:
            raise InputError(
                f"--confidence: {goal} limits what is spent, not what is lost; promise a drop or accuracy, "
                "for instance --target accuracy_drop=0.01"
            )
        if not 0.5 <= self.confidence <= 0.999:
            raise InputError(f"--confidence={self.confidence:g} is outside [0.5, 0.999]; 0.95 is usual")
        if goal.measure != "accuracy" and (self.bound not in (None, "betting") or self.by):
            raise InputError(
                f"{goal}: scores of captions take --bound betting alone, and have no regions; leave both out"
            )

    def bound_for(self, goal: Target) -> Bound:
        """The test: by default the exact one, for scores of captions the betting one."""
        if goal.measure != "accuracy":
            return "betting"
        exact: Bound = "exact" if goal.is_drop else "harms"  # without a comparison, harms are all there is
        return exact if self.bound in (None, "exact") else self.bound


def promise_of(
    goal: Target, confidence: float | None, bound: Bound | None, by: Literal["region"] | None
) -> Promise | None:
    """What is to be promised, by the options of `calibrate`; None for nothing.

    Raises:
        InputError: the options do not go together.
    """
    if confidence is None:
        if bound or by:
            raise InputError("--bound and --by are of a promise: give --confidence 0.95 with them")
        return None
    promise = Promise(confidence, bound, by)
    promise.check(goal)
    return promise


def certified(recorded: Recorded, goal: Target, promise: Promise) -> Certificate:
    """The loosest thresholds that can be promised, tested on samples that nothing was fitted on."""
    judge = judge_threshold(recorded.fitted_on)
    return certify(
        recorded.answers,
        goal,
        candidates(recorded.fitted_on, judge),
        confidence=promise.confidence,
        bound=promise.bound_for(goal),
        regions=recorded.regions if promise.by else None,
    )


def promise_in_words(goal: Target, certificate: Mapping[str, Any]) -> str:
    """A certificate as a sentence.

    Args:
        goal: what was to be promised.
        certificate: as `calibrate` keeps it.
    """
    sure = f"{100 * certificate['confidence']:g} %"
    where = " in each region" if certificate["by"] else ""
    samples = f"{certificate['samples']:,} samples that nothing was fitted on"
    if certificate["promised"]:
        about = ", by an approximate test" if certificate["bound"] == "score" else ""
        return (
            f"promised: {goal}{where}, with a confidence of {sure}{about}; tested on {samples}, which the "
            f"large model was called for {100 * certificate['lm_rate']:.1f} % of"
        )
    needed = certificate["samples_needed"]
    more = (
        f"about {needed + certificate['fitted_on']:,} labelled validation samples would do"
        if needed
        else "no number of samples would do with these models"
    )
    rate = 100 * certificate["without_promise"]["lm_rate"]
    return (
        f"not promised: {goal}{where} could not be shown with a confidence of {sure} on {samples}, so that "
        f"the large model answers all; {more}; without a promise (no --confidence) the LM rate would be "
        f"{rate:.1f} %"
    )
