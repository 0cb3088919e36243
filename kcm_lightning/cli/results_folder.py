"""Where a command's results go, so that it never overwrites those of another one."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# of the trainer, what makes other results; of the other options, what does not
_TRAINER = ("limit_test_batches", "limit_predict_batches", "precision")
_SAME_RESULTS = {
    "answers",
    "answered",
    "api_key_env",
    "budget",
    "cache",
    "compare",
    "compile",
    "concurrency",
    "eval_batch_size",
    "fit_budget",
    "prepared",
    "prices",
    "retries",
    "timeout",
}
_LONGEST = 60  # characters of a folder's name


def results_folder(run: Path, *, command: str, config: Mapping[str, Any], checkpoint: str) -> Path:
    """The run folder for its first results, and for those of the same options when they are made anew.

    Results of other options go to a subfolder that is named by what differs from the first.

    Args:
        run: the run folder.
        command: "test" or "predict".
        config: the resolved configuration of the command, plain values only.
        checkpoint: path of the checkpoint.

    Returns:
        The folder, which need not exist: `run`, or for instance `run/tests/judge-0.9-0a1b2c3d`.
    """
    now = _options(config, checkpoint)
    first = _written(run / ("results.json" if command == "test" else "predict.json")) or now
    differ = {name: now.get(name) for name in sorted({*now, *first}) if now.get(name) != first.get(name)}
    return run / {"test": "tests", "predict": "predictions"}[command] / _name(differ) if differ else run


def _written(path: Path) -> dict[str, Any] | None:
    """Options of the results that are there; None where there are none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _options(found["config"], found.get("checkpoint", "best.ckpt"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _options(config: Mapping[str, Any], checkpoint: str) -> dict[str, Any]:
    """What makes a difference to results, by its name."""
    parts = {name: config[name] for name in ("model", "data")}
    parts["trainer"] = {name: config["trainer"].get(name) for name in _TRAINER}
    flat: dict[str, Any] = {"checkpoint": Path(checkpoint).stem}

    def walk(tree: Any, names: tuple[str, ...]) -> None:
        if names and names[-1] in _SAME_RESULTS:
            return
        if isinstance(tree, Mapping) and tree:
            for key, value in tree.items():
                walk(value, names if key == "init_args" else (*names, key))
        else:
            flat[".".join(names)] = tree

    for name, part in parts.items():
        walk(part, (name,))
    return flat


def _name(differ: Mapping[str, Any]) -> str:
    """A folder's name that says what differs, gates first; a digest ends it where it cannot say all."""
    ordered = sorted(differ, key=lambda name: ("thresholds" not in name.split("."), name))
    words = [f"{name.split('.')[-1]}-{_word(differ[name])}" for name in ordered if "temperatures" not in name]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(words)).strip("-.")
    digest = hashlib.sha256(json.dumps(differ, sort_keys=True, default=str).encode()).hexdigest()[:8]
    return f"{plain[:_LONGEST]}-{digest}"


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return Path(value).name if isinstance(value, str) else str(value)
