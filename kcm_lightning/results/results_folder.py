"""Where a command's results go, so that it never overwrites those of another one."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kcm_lightning.utils.option_names import by_name
from kcm_lightning.utils.plain_files import read_json

# of the trainer, what makes other results; of the other options, what does not
_TRAINER = ("limit_test_batches", "limit_predict_batches", "precision")
_SAME_RESULTS = {
    "answers",  # recorded answers and data count by content
    "answered",
    "api_key_env",
    "budget",
    "cache",
    "compile",
    "concurrency",
    "eval_batch_size",
    "fit_budget",
    "prepared",
    "prices",
    "retries",
    "timeout",
}
_OF_CALIBRATE = {"thresholds", "temperatures", "gate", "fusion"}
_CONTENT = ("samples", "large_model", "test_split", "class_names")
_LONGEST = 60  # characters of a folder's name


def results_folder(run: Path, *, command: str, found: Mapping[str, Any]) -> Path:
    """The run folder for its first results, and for those of the same when they are made anew.

    Results of other options, data, weights or of another large model go to a subfolder that is named by what
    differs from the first.

    Args:
        run: the run folder.
        command: "test" or "predict".
        found: the results, as `results.json` holds them: `config`, `checkpoint`, and where they are known
            `checkpoint_sha256`, `large_model_identity` and `data`.

    Returns:
        The folder, which need not exist: `run`, or for instance `run/tests/judge-0.9-0a1b2c3d`.
    """
    now = _described(found)
    first = _written(run / ("results.json" if command == "test" else "predict.json")) or _whole(now)
    # what earlier versions did not keep is unknown
    names = sorted({*now, *first} - {name for name in _CONTENT if None in (now.get(name), first.get(name))})
    differ = {name: now.get(name) for name in names if now.get(name) != first.get(name)}
    return (
        run / {"test": "tests", "predict": "predictions"}[command] / _name(differ, found.get("calibrated"))
        if differ
        else run
    )


def _written(path: Path) -> dict[str, Any] | None:
    """What the results that are there are of; None where there are none."""
    try:
        return _described(read_json(path))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _whole(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same without a limit on batches: a part of the samples never takes the place of all."""
    return {name: None if name.startswith("trainer.limit_") else value for name, value in options.items()}


def _described(found: Mapping[str, Any]) -> dict[str, Any]:
    """Options and content that make a difference to results, by name."""
    data = found.get("data") or {}
    content = {
        "samples": found.get("samples"),
        "large_model": found.get("large_model_identity"),
        "test_split": (data.get("splits") or {}).get("test", {}).get("sha256"),
        "class_names": (data.get("class_names") or {}).get("sha256"),
    }
    checkpoint = found.get("checkpoint", "best.ckpt")
    if Path(checkpoint).name != checkpoint:  # none of the run's own, which training goes on with
        content["checkpoint_sha256"] = found.get("checkpoint_sha256")
    return _options(found["config"]) | content | {"checkpoint": Path(checkpoint).stem}


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    parts = {name: config[name] for name in ("model", "data")}
    parts["trainer"] = {name: config["trainer"].get(name) for name in _TRAINER}
    return dict(by_name(parts, skip=lambda name, key: key in _SAME_RESULTS))


def _name(differ: Mapping[str, Any], calibrated: Mapping[str, Any] | None) -> str:
    """A folder's name that says what differs, gates first; a digest ends it where it cannot say all.

    Thresholds that `calibrate` has chosen are named by their target.
    """
    # the number of samples follows from the options that have a name of their own
    ordered = sorted(differ, key=lambda name: ("thresholds" not in name.split("."), name == "samples", name))
    said = [name for name in ordered if not _OF_CALIBRATE & set(name.split("."))]
    if calibrated:
        words = [str(calibrated["target"])]
    else:
        words = [
            f"{name.split('.')[-1]}-{_word(name, differ[name])}" for name in ordered if "thresholds" in name
        ]
    words += [f"{name.split('.')[-1]}-{_word(name, differ[name])}" for name in said]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(words)).strip("-.")
    digest = hashlib.sha256(json.dumps(differ, sort_keys=True, default=str).encode()).hexdigest()[:8]
    return f"{plain[:_LONGEST]}-{digest}"


def _word(name: str, value: Any) -> str:
    if name == "large_model":  # long, and full of paths
        return hashlib.sha256(str(value).encode()).hexdigest()[:8]
    if isinstance(value, float):
        return f"{value:.4g}"
    return Path(value).name if isinstance(value, str) else str(value)
