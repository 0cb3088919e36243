"""Which results may stand in one mean: those of the same options, data and large model, whatever the seed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kcm_lightning.results.fit_record import split_digests
from kcm_lightning.results.provenance import LENGTH, training_callbacks
from kcm_lightning.results.results_file import Figures
from kcm_lightning.utils.option_names import by_name

# of the trainer, what makes other figures
_TRAINER = (*LENGTH, "limit_test_batches", "precision", "gradient_clip_val", "accumulate_grad_batches")
# of module and data, what may differ between runs that are averaged or stand in one table
_NOT_A_VARIANT = {
    "thresholds",
    "temperatures",
    "gate",
    "fusion",
    "cache",
    "judge_ckpt",
    "category",
    "root",
    "prepared",
    "answered",
    "predict_folder",
    "eval_batch_size",
    "compile",
}
# options that results of earlier versions do not have, and what these did
_SINCE = {
    "data.rotation": 0.0,
    "model.judge_phase.optimizer": "adamw",
    "model.student_phase.optimizer": "adamw",
}
_NOT_OF_THE_ANSWERS = {
    "answers",
    "budget",
    "concurrency",
    "fit_budget",
    "prices",
    "retries",
    "timeout",
    "api_key_env",
}
# a model that was fitted on one category and is tested on another is not one that was fitted on that
_NOT_OF_THE_FIT = (_NOT_A_VARIANT | _NOT_OF_THE_ANSWERS | {"seed_everything"}) - {"category", "fit_budget"}
_FITTED = "fitted with "


def last(path: str) -> str:
    """Name of a class without its module."""
    return path.rsplit(".", 1)[-1]


def options(figures: Figures, part: str) -> Figures:
    """Options of the module ("model") or of the data ("data")."""
    return figures["config"][part].get("init_args") or {}


def variant_of(figures: Figures) -> dict[str, Any]:
    """The options that tell apart runs which must not be averaged, by their names."""
    config, fitted = figures.get("config") or {}, figures.get("fitted_with") or {}
    kept: dict[str, Any] = {}
    for part in ("model", "data"):
        if part in config:
            kept[f"{part}.class_path"] = last(config[part].get("class_path") or "")
            kept |= dict(by_name(options(figures, part), part, _may_differ))
    kept |= {name: kept.get(name, value) for name, value in _SINCE.items()}
    trainer = config.get("trainer") or {}
    kept |= {f"trainer.{name}": trainer.get(name) for name in _TRAINER}
    kept["trainer.callbacks"] = training_callbacks(trainer)
    kept["checkpoint"] = Path(str(figures.get("checkpoint") or "best.ckpt")).stem
    kept["not done"] = "; ".join(not_done(figures)) or None
    for name, value in fitted.items():
        if not _NOT_OF_THE_FIT & set(name.split(".")):
            kept[_FITTED + name.replace(".init_args", "")] = value  # as earlier versions named them
    return kept | {"gates": _gates(figures)}


def _gates(figures: Figures) -> str | None:
    """Thresholds by hand, or the target that `calibrate` has chosen them for, others for each seed."""
    learned = ["learned gate"] if isinstance(figures.get("gate"), dict) else []
    fused = ["fused"] if figures.get("fusion") else []
    return ", ".join([*_thresholds(figures), *learned, *fused]) or None


def _thresholds(figures: Figures) -> list[str]:
    if target := (figures.get("calibrated") or {}).get("target"):
        return [str(target)]
    # results of earlier versions do not have the target: `calibrate` fits temperatures, where there are any
    if "accuracy" not in figures or set(figures.get("temperatures", {}).values()) != {1.0}:
        return []
    said = (f"{who} {'null' if v is None else f'{v:g}'}" for who, v in figures["thresholds"].items())
    return [f"thresholds {', '.join(said)}"]


def labels(groups: list[dict[str, Any]], shown: int) -> list[str]:
    """Names of several groups of runs, by what differs between them.

    Args:
        groups: a description of each.
        shown: number of differences that a name has.

    >>> labels([{"gates": "thresholds judge 0.98", "x": 1}, {"gates": "accuracy_drop=0.01", "x": 1}], shown=2)
    ['thresholds judge 0.98', 'accuracy_drop=0.01']
    """
    first, *others = groups
    differ = {name for other in others for name in differences(first, other)}
    names = sorted(differ, key=lambda name: (name != "gates", name))[:shown]
    return [", ".join(_named(name, _value(own, name)) for name in names) for own in groups]


def _named(name: str, value: Any) -> str:
    return in_words(value or "other thresholds") if name == "gates" else f"{name} {in_words(value)}"


def not_done(figures: Figures) -> list[str]:
    """What the fit has not done of what was planned, a sentence each."""
    found = figures.get("not_done")
    return [str(sentence) for sentence in found] if isinstance(found, list) else []


def _may_differ(name: str, key: str) -> bool:
    """Whether runs that are averaged may differ in what a tree of options has under a key."""
    if name.startswith("model.teacher") and key in _NOT_OF_THE_ANSWERS:
        return True
    return name in ("model", "data") and key in _NOT_A_VARIANT


def measured_on(figures: Figures) -> dict[str, Any]:
    """Data and large model that figures are of, by content; None for what earlier versions did not keep."""
    data = figures.get("data") or {}
    splits = {f"{name} split": own for name, own in split_digests(data.get("splits")).items()}
    names = (data.get("class_names") or {}).get("sha256")
    large_model = figures.get("large_model_identity")
    return splits | {"class names": names, "large model": large_model, "samples": figures.get("samples")}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between two such descriptions: each name with both values."""
    pairs = {name: (_value(one, name), _value(other, name)) for name in sorted({*one, *other})}
    return {name: (then, now) for name, (then, now) in pairs.items() if then != now}


def _value(described: Mapping[str, Any], name: str) -> Any:
    """A value of a description; what is not told of the fit is what the test was given."""
    return described.get(name, described.get(name.removeprefix(_FITTED)))


def in_words(value: Any) -> str:
    """A value for a line: short, without the module of a class."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
