"""What `calibrate` has found, as it is kept and as it is said."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import torch
import yaml

from kcm_lightning.calibrate.answer_recorder import Recorded, Recorder
from kcm_lightning.calibrate.answers import ClassAnswers, ValidationAnswers, share
from kcm_lightning.calibrate.certificate import Certificate
from kcm_lightning.calibrate.on_unseen import in_words, met_on_unseen
from kcm_lightning.calibrate.promise import Promise, certified, promise_in_words
from kcm_lightning.calibrate.spending import table_rows
from kcm_lightning.calibrate.target import Target
from kcm_lightning.calibrate.thresholds import choose_thresholds, expected_of, expected_on_unseen
from kcm_lightning.core.routing import Route, Thresholds
from kcm_lightning.data.base import KCMDataModule
from kcm_lightning.module import KCMModule
from kcm_lightning.results.calibrated_file import expected_in_words, plain_settings
from kcm_lightning.results.fit_record import checkpoint_facts
from kcm_lightning.results.provenance import identity_of
from kcm_lightning.utils.console import say
from kcm_lightning.utils.tables import print_table


def report_of(
    goal: Target, recorded: Recorded, recorder: Recorder, own_threshold: float | None, promise: Promise | None
) -> dict[str, Any]:
    """Thresholds, what they go with, and what to expect of them on samples that they were not chosen on.

    Args:
        goal: what they are chosen for.
        recorded: the answers to the validation split.
        recorder: who recorded them.
        own_threshold: the large model's, which stays as it is.
        promise: what is to be promised; None for an estimate.
    """
    answers, found, certificate = recorded.answers, recorded.found, {}
    if promise is None:
        chosen = choose_thresholds(answers, goal)
        expected = expected_on_unseen(answers, goal)
    else:
        tested = certified(recorded, goal, promise)
        chosen = tested.thresholds or Thresholds(None, None)
        expected = expected_of(answers, chosen)
        certificate = {"certificate": _plain(tested, promise, recorded, goal)}
    if not recorder.asked:
        expected = {"lm_rate": expected["lm_rate"]}
    return {
        "target": str(goal),
        "date": datetime.now(UTC).date().isoformat(),
        "samples": len(answers),
        "unanswered": recorder.unanswered,
        "temperatures": asdict(found.temperatures),
        **plain_settings(found.gate, found.fusion),
        "fusion_gain": found.fusion_gain,
        "thresholds": asdict(Thresholds(chosen.judge, chosen.student, own_threshold)),
        "expected_on_unseen_data": expected,
        "target_on_unseen_data": None if promise else met_on_unseen(goal, len(answers), expected),
        "baseline": _baseline(answers, chosen),
        **certificate,
    }


def _baseline(answers: ValidationAnswers, chosen: Thresholds) -> dict[str, Any]:
    """What `monitor` compares later samples with: scores of the gate, share kept, answers that differ."""
    routes = answers.routes(chosen)
    scores = answers.gate_score.double()
    edges = scores.quantile(torch.linspace(0.1, 0.9, 9, dtype=torch.double)).unique()
    bins = torch.searchsorted(edges, scores, right=True)
    found = {
        "score_edges": edges.tolist(),
        "score_counts": bins.bincount(minlength=len(edges) + 1).tolist(),
        "kept": share(routes != Route.TEACHER, 0.95),
    }
    if isinstance(answers, ClassAnswers) and answers.differs is not None:
        differs = answers.differs.gather(1, routes.unsqueeze(1)).squeeze(1)
        found["differs_from_large"] = share(differs, 0.95)
    return found


def _plain(tested: Certificate, promise: Promise, recorded: Recorded, goal: Target) -> dict[str, Any]:
    """A certificate as it is kept, with what would be chosen without one."""
    answers = recorded.answers
    without = choose_thresholds(answers, goal)
    return {
        "promised": tested.thresholds is not None,
        "limit": goal.value,
        "by": promise.by,
        **{name: value for name, value in asdict(tested).items() if name != "thresholds"},
        "fitted_on": len(recorded.fitted_on),
        "without_promise": {
            "thresholds": {"judge": without.judge, "student": without.student},
            "lm_rate": answers.lm_rate(without),
        },
    }


def origin(model: KCMModule, data: KCMDataModule, checkpoint: str | None) -> dict[str, Any]:
    """Checkpoint, data and large model that thresholds are of."""
    return {
        **checkpoint_facts(checkpoint),
        "data": {"title": data.title, "val": data.fingerprint()["val"]},
        "large_model_identity": identity_of(model),
    }


def settings(report: dict[str, Any], *, with_temperatures: bool) -> str:
    """The settings as YAML, for later commands."""
    names = ("thresholds", *(["temperatures"] if with_temperatures else []), "gate", "fusion")
    given = yaml.safe_dump({"model": {"init_args": {name: report[name] for name in names}}})
    return f"# {report['target']}, chosen on {report['samples']} samples\n{given}"


def print_report(report: dict[str, Any], goal: Target) -> None:
    """Says what was chosen, what is expected of it, and what it goes with."""
    for name, figures in report["expected_on_unseen_data"].items():
        low, mean, high = (100 * figures[key] for key in ("low", "mean", "high"))
        is_score = name.startswith(("BLEU", "CIDEr"))
        title = f"expected {expected_in_words(name)}{' x 100' if is_score else ''}"
        value = f"{mean:.2f}{'' if is_score else ' %'}"
        say(f"{title}: {value} (95 % interval {low:.2f} to {high:.2f})")
    if rows := report.get("table"):
        measure = "accuracy" if "accuracy" in rows[0] else "CIDEr"
        unit = {"cost": "cost of 1,000", "seconds": "seconds for 1,000", "flops": "FLOPs"}.get(goal.kind, "")
        print_table(*table_rows(rows, measure, unit), f"{report['samples']:,} validation samples, %")
    if unanswered := report["unanswered"]:
        say(
            f"note: the large model gave no answer to {unanswered:,} of {report['samples']:,} validation "
            "samples: there the student's stands, and what is expected holds for as many"
        )
    if met := report["target_on_unseen_data"]:
        say(in_words(goal, report["samples"], met))
        if goal.is_quality:
            say("this is an estimate; with --confidence 0.95 the target is promised")
    if certificate := report.get("certificate"):
        say(promise_in_words(goal, certificate))
    elif report["thresholds"]["student"] is None:
        target = report["target"]
        say(f"no threshold meets {target} on these samples: the large model answers all of them")
    if report["gate"] != "confidence":
        say("gate: learned")
    if report["fusion"] is not None:
        weights = ", ".join(f"{who.replace('_', ' ')} {w:.2f}" for who, w in report["fusion"].items() if w)
        unit = "points" if "class_count" in report["fusion"] else "CIDEr x 100"
        gain = f"{100 * report['fusion_gain']:+.2f} {unit} on samples that they were not fitted on"
        say(f"fusion: weights {weights}; {gain}, against the large model alone on every sample")
    elif report["fusion_gain"] is not None:
        say("fusion: none, the large model alone is as good")
    say("thresholds: " + ", ".join(f"{k} {v:.4f}" for k, v in report["thresholds"].items() if v is not None))
