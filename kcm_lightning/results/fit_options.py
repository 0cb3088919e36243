"""Options that make a difference to a fit: a run goes on with those that it began with."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.plain_files import read_yaml

# of the trainer, what makes other weights or chooses another best checkpoint; lengths, machines, loggers and
# callbacks may change
_TRAINER = (
    "precision",
    "limit_train_batches",
    "limit_val_batches",
    "overfit_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "sync_batchnorm",
    "reload_dataloaders_every_n_epochs",
)
# of module and data, what a resumed run may have otherwise
_LENGTHS = {"epochs"}
_AT_INFERENCE = {
    "compare",
    "fusion",
    "gate",
    "pruning",
    "scoring",
    "second_gate",
    "temperatures",
    "thresholds",
}
_SPEED = {"cache", "compile", "eval_batch_size", "num_workers", "workers"}
# what lies there is known by its content: the data's fingerprint, the large model's identity, the tokenizer
_PLACES = {
    "model": {"output"},
    "teacher": {"name", "path"},
    "data": {"answered", "captions", "images", "predict_folder", "prepared", "root", "tokenizer"},
}
_OF_ASKING = {"answers", "api_key_env", "budget", "concurrency", "prices", "retries", "timeout"}
_MAY_CHANGE = _LENGTHS | _AT_INFERENCE | _SPEED
_SHOWN, _LONGEST = 4, 60  # differences, and characters of a value, that an error names

Difference = tuple[str, Any, Any]


def check_options(checkpoint: str | Path, config: Mapping[str, Any]) -> None:
    """Refuses to go on training with other options than a run began with.

    Lengths of phases, what matters at inference alone, caches and places of files may change, and so may
    machines, loggers and callbacks.

    Args:
        checkpoint: what is resumed.
        config: the resolved configuration of the command, plain values only.

    Raises:
        InputError: options make a difference to the fit; each is named with its value then and now.
    """
    run = Path(checkpoint).resolve().parent.parent
    file = run / "config.yaml"
    if Path(checkpoint).resolve().parent.name != "checkpoints" or not file.is_file():
        rank_zero_warn(
            f"nothing is known of the options that {checkpoint} was trained with: that they are those of now "
            "cannot be checked"
        )
        return
    if found := list(_differences(read_yaml(file), config)):
        said = [f"--{name} was {_shown(then)}, is {_shown(now)}" for name, then, now in found[:_SHOWN]]
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise InputError(
            f"the run {run} began with other options: {'; '.join(said)}{more}; leave them as they were "
            f"(--config {file} has them all), or begin a new run"
        )


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    if then.get("seed_everything") != now.get("seed_everything"):
        yield "seed_everything", then.get("seed_everything"), now.get("seed_everything")
    for part in ("model", "data"):
        yield from _in_class(then.get(part), now.get(part), part)
    trainer, own = then.get("trainer") or {}, now.get("trainer") or {}
    for name in _TRAINER:
        if name in trainer and not _same(trainer[name], own.get(name)):
            yield f"trainer.{name}", trainer[name], own.get(name)


def _in_class(then: Any, now: Any, name: str) -> Iterator[Difference]:
    """Differences in the options of a class, which an earlier version may not have had all."""
    if not (_is_class(then) and _is_class(now)):
        if not _same(then, now):
            yield name, then, now
        return
    if then["class_path"] != now["class_path"]:
        yield name, then["class_path"], now["class_path"]
        return
    role = name.rsplit(".", 1)[-1]
    left_out = _MAY_CHANGE | _PLACES.get(role, set()) | (_OF_ASKING if role == "teacher" else set())
    before, own = then.get("init_args") or {}, now.get("init_args") or {}
    for option in sorted(before.keys() & own.keys() - left_out):
        inner = f"{name}.{option}"
        if _is_class(before[option]) or _is_class(own[option]):
            yield from _in_class(before[option], own[option], inner)
        else:
            yield from _in_value(before[option], own[option], inner)


def _in_value(then: Any, now: Any, name: str) -> Iterator[Difference]:
    """Differences in a value, by the names of its parts where both are mappings of the same ones.

    A phase is one, also where an earlier version had fewer options for it.
    """
    both = isinstance(then, Mapping) and isinstance(now, Mapping)
    if both and (then.keys() == now.keys() or then.keys() & now.keys() >= _LENGTHS):
        for key in sorted(then.keys() & now.keys() - _LENGTHS):
            yield from _in_value(then[key], now[key], f"{name}.{key}")
    elif not _same(then, now):
        yield name, then, now


def _is_class(value: Any) -> bool:
    return isinstance(value, Mapping) and "class_path" in value


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one; 1e-3 is a text to YAML."""
    if one == other:
        return True
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return False


def _shown(value: Any) -> str:
    """A value as a command line takes it, shortened."""
    text = "null" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
