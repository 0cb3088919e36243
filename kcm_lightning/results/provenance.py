"""Where the figures of a run come from."""

import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import yaml

from kcm_lightning.utils.seed import global_seed

# of the trainer, what cuts a fit short
LENGTH = ("max_epochs", "max_steps", "max_time", "limit_train_batches", "overfit_batches")
_GATES = ("thresholds", "temperatures")  # chosen after the fit


def provenance(trainer: L.Trainer, config: Mapping[str, Any]) -> dict[str, Any]:
    """Seed, commit, command, versions, data and configuration of a test, plain values only.

    Where the run was fitted with another seed or other options than the test was given, `fitted_with` has
    those, and `seed` is the fit's.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]  # the Trainer holds it, untyped
    fitted = _fitted_with(trainer.ckpt_path, config)
    return {
        "seed": fitted.get("seed_everything", global_seed()),
        "commit": _commit(),
        "command": shlex.join(["python", "-m", "kcm_lightning", *sys.argv[1:]]),
        "versions": {name: version(name) for name in ("torch", "lightning", "torchmetrics", "transformers")},
        "data": {"name": data.name, "title": data.title, "splits": data.fingerprint()},
        "config": dict(config),
        **({"fitted_with": fitted} if fitted else {}),
    }


def _fitted_with(checkpoint: str | Path | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their full names that the checkpoint's run has otherwise than a configuration."""
    folder = Path(checkpoint).parent if checkpoint else Path()
    if folder.name != "checkpoints" or not (folder.parent / "config.yaml").is_file():
        return {}
    before = _by_name(yaml.safe_load((folder.parent / "config.yaml").read_text()))
    now = _by_name(config)
    differ = {name: before.get(name) for name in sorted({*before, *now}) if before.get(name) != now.get(name)}
    return {name: value for name, value in differ.items() if not set(_GATES) & set(name.split("."))}


def _by_name(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a difference to a fit, by its full name."""
    shown = {part: config[part] for part in ("seed_everything", "model", "data")}
    shown["trainer"] = {name: config["trainer"].get(name) for name in LENGTH}

    def flat(tree: Any, name: str) -> dict[str, Any]:
        if not isinstance(tree, Mapping) or not tree:
            return {name: tree}
        parts = [flat(part, f"{name}.{key}") for key, part in tree.items()]
        return {inner: value for part in parts for inner, value in part.items()}

    return {inner: value for key, part in shown.items() for inner, value in flat(part, key).items()}


def _commit() -> str | None:
    """The commit of the code, marked where the working tree differs from it; None outside a repository."""
    try:
        _git(
            "ls-files", "--error-unmatch", Path(__file__).name
        )  # it may be installed inside another repository
        return _git("describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    run = subprocess.run(
        ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()
