"""Where the figures of a run come from."""

import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L

from kcm_lightning.results.fit_record import check_split, checkpoint_facts
from kcm_lightning.utils.option_names import by_name
from kcm_lightning.utils.plain_files import read_yaml
from kcm_lightning.utils.seed import global_seed

# of the trainer, what cuts a fit short
LENGTH = ("max_epochs", "max_steps", "max_time", "limit_train_batches", "overfit_batches")
_GATES = ("thresholds", "temperatures", "gate", "fusion")  # chosen after the fit
# callbacks that only look on, by the ends of their names
_ONLOOKERS = ("ProgressBar", "ModelSummary", "Monitor", "Checkpoint")


def provenance(
    trainer: L.Trainer, config: Mapping[str, Any], large_model: str | None, fitted: Mapping[str, Any]
) -> dict[str, Any]:
    """Seed, commit, command, versions, data, models and configuration of a test, plain values only.

    Where the run was fitted with another seed, other options, data or another large model than the test was
    given, `fitted_with` has those, and `seed` is the fit's.

    Args:
        trainer: the Trainer of the test.
        config: the resolved configuration.
        large_model: identity of the large model; None where there is none.
        fitted: of the fit, what is another now; see `otherwise_in_the_fit`.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]  # the Trainer holds it, untyped
    names = list(data.class_names)
    return {
        "seed": fitted.get("seed_everything", global_seed()),
        "commit": _commit(),
        "command": shlex.join(["python", "-m", "kcm_lightning", *sys.argv[1:]]),
        "versions": {name: version(name) for name in ("torch", "lightning", "torchmetrics", "transformers")},
        "data": {
            "name": data.name,
            "title": data.title,
            "splits": data.fingerprint(),
            "class_names": {"count": len(names), "sha256": _digest(repr(names).encode())},
        },
        "large_model_identity": large_model,
        **checkpoint_facts(trainer.ckpt_path),
        "config": dict(config),
        **({"fitted_with": dict(fitted)} if fitted else {}),
    }


def otherwise_in_the_fit(
    checkpoint: str | Path | None, config: Mapping[str, Any], data: Any, large_model: str | None
) -> dict[str, Any]:
    """Of the fit of a checkpoint, what is another in a test of it: options, data and large model.

    Args:
        checkpoint: the checkpoint; None where the weights are in memory.
        config: the resolved configuration of the test.
        data: the data module, set up.
        large_model: identity of the large model; None where there is none.

    Raises:
        InputError: the data have changed, and test samples were used in the fit.
    """
    if checkpoint is None:
        return {}
    return _fitted_with(checkpoint, config) | check_split(checkpoint, data, "test", large_model)


def identity_of(module: Any) -> str | None:
    """What tells the module's large model from others, its weights included; None where it has none."""
    teacher = getattr(module, "teacher", None)
    identity = None if teacher is None else str(teacher.identity)
    return identity if identity is None or len(identity) <= 300 else _digest(identity.encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _fitted_with(checkpoint: str | Path | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their names that the checkpoint's run has otherwise than a configuration."""
    folder = Path(checkpoint).parent if checkpoint else Path()
    if folder.name != "checkpoints" or not (folder.parent / "config.yaml").is_file():
        return {}
    before = _of_a_fit(read_yaml(folder.parent / "config.yaml"))
    now = _of_a_fit(config)
    differ = {name: before.get(name) for name in sorted({*before, *now}) if before.get(name) != now.get(name)}
    return {name: value for name, value in differ.items() if not set(_GATES) & set(name.split("."))}


def training_callbacks(trainer: Mapping[str, Any]) -> str | None:
    """Callbacks among a trainer's options that have a say in the training, for instance EarlyStopping."""
    given = trainer.get("callbacks") or []
    said = []
    for one in given if isinstance(given, list) else [given]:
        path, options = (
            (one.get("class_path"), one.get("init_args")) if isinstance(one, Mapping) else (one, {})
        )
        name = str(path).rsplit(".", 1)[-1]
        if not name.endswith(_ONLOOKERS):
            said.append(f"{name} {json.dumps(options, default=str)}")
    return ", ".join(said) or None


def _of_a_fit(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a difference to a fit, by name."""
    shown = {part: config.get(part) for part in ("seed_everything", "model", "data")}
    trainer = config.get("trainer") or {}
    lengths = {name: trainer.get(name) for name in LENGTH}
    shown["trainer"] = lengths | {"callbacks": training_callbacks(trainer)}
    return dict(by_name(shown))


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
