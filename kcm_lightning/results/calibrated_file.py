"""The file that `calibrate` writes: the gates' settings, and nothing that a configuration could hold else."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from kcm_lightning.core.caption_gate import CaptionChoice, CaptionGate
from kcm_lightning.core.confidence import Temperatures
from kcm_lightning.core.fusion import Fusion
from kcm_lightning.core.learned_gate import LearnedGate
from kcm_lightning.core.regression import Regression
from kcm_lightning.core.routing import Thresholds
from kcm_lightning.results.fit_record import checkpoint_facts
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.plain_files import read_json, read_yaml

NAME = "calibrated.yaml"
_GATES = ("judge", "student")  # whose thresholds `calibrate` chooses
_SETTINGS: dict[str, tuple[type, ...]] = {  # of classes, or of captions
    "thresholds": (Thresholds,),
    "temperatures": (Temperatures,),
    "gate": (LearnedGate, CaptionGate),
    "fusion": (Fusion, CaptionChoice),
}
_SWITCHED_OFF: dict[str, Any] = {"gate": "confidence", "fusion": None}


def read_calibrated(path: str | Path) -> dict[str, Any]:
    """Thresholds and what goes with them out of a file that `calibrate` has written.

    No class can be named there: nothing of it is imported.

    Args:
        path: YAML with `model.init_args.thresholds` and, for classes, `temperatures`, `gate` and `fusion`
            beside them.

    Returns:
        Of each of these, as far as the file has it, its numbers by name; "confidence" for a gate that is not
        learned, None for no fusion.

    Raises:
        InputError: it holds anything else, or a number outside its range.
    """
    settings: Any = read_yaml(path)
    for name, place in (("model", ""), ("init_args", "model.")):
        _refuse_others(path, settings, place, {name})
        settings = settings.get(name)
        if not isinstance(settings, dict):
            raise InputError(f"{path} holds no thresholds: it is none of those that `calibrate` writes")
    _refuse_others(path, settings, "model.init_args.", set(_SETTINGS))
    return {
        name: given if name in _SWITCHED_OFF and given == _SWITCHED_OFF[name] else _numbers(path, name, given)
        for name, given in settings.items()
    }


def chosen_for(configs: Iterable[str | Path], thresholds: Thresholds) -> dict[str, Any]:
    """What `calibrate` has chosen the thresholds for.

    Args:
        configs: configuration files of the command.
        thresholds: thresholds in use.

    Returns:
        `target` and `samples` of the last file of `calibrate` among them and, where it says so, the hash of
        the checkpoint that it is of and the certificate of what it promises; nothing where there is none, or
        where other thresholds are in use than it has.
    """
    for _, report in _reports(configs):
        if all(report["thresholds"][who] == getattr(thresholds, who) for who in _GATES):
            found = {"target": str(report["target"]), "samples": int(report["samples"])}
            more = {name: report[name] for name in ("checkpoint_sha256", "certificate") if report.get(name)}
            return found | more
    return {}


def check_chosen(
    configs: Iterable[str | Path], thresholds: Thresholds, checkpoint: str | Path | None
) -> None:
    """Warns of thresholds that were chosen for another checkpoint of a run; refuses those of another run.

    Args:
        configs: configuration files of the command, of which some may be `calibrate`'s.
        thresholds: thresholds in use.
        checkpoint: checkpoint in use; None where the weights are in memory.

    Raises:
        InputError: a threshold in use is that of another run.
    """
    reports = list(_reports(configs))
    now = checkpoint_facts(checkpoint) if reports else {}  # reads the whole checkpoint
    for path, report in reports:
        chosen, then = report["thresholds"], report.get("checkpoint_sha256")
        in_use = any(chosen[who] is not None and chosen[who] == getattr(thresholds, who) for who in _GATES)
        if not in_use or then is None or not now or then == now["checkpoint_sha256"]:
            continue
        advice = "run `calibrate` for this one, or set --model.thresholds yourself"
        run = report.get("run_id")
        if run and now.get("run_id") and run != now["run_id"]:
            raise InputError(
                f"{path}: its thresholds were chosen for another run than {checkpoint}; {advice}"
            )
        rank_zero_warn(
            f"{path}: its thresholds were chosen for another checkpoint ({then}) than {checkpoint} is "
            f"({now['checkpoint_sha256']}); {advice}"
        )


def _reports(configs: Iterable[str | Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """What lies beside files of `calibrate`, the last file first; other configurations are passed over."""
    for path in reversed([Path(config) for config in configs]):
        report = report_of(path)
        thresholds = report.get("thresholds")
        if isinstance(thresholds, dict) and all(who in thresholds for who in _GATES):
            yield path, report


def report_of(path: Path) -> dict[str, Any]:
    """What `calibrate` has left as JSON beside a YAML of thresholds; empty where there is none of its own."""
    beside = path.with_suffix(".json")
    try:
        found = read_json(beside) if beside.is_file() else {}
        return found if isinstance(found.get("target"), str) and int(found["samples"]) else {}
    except (InputError, KeyError, TypeError, ValueError):
        return {}


def _refuse_others(path: str | Path, tree: dict[str, Any], place: str, known: set[str]) -> None:
    if others := [f"{place}{name}" for name in tree if name not in known]:
        raise InputError(
            f"{path} holds {', '.join(others[:3])}: a file of `calibrate` has thresholds, temperatures, gate "
            "and fusion alone; give other options on the command line, or in a configuration of another name"
        )


def expected_in_words(name: str) -> str:
    """A figure that `calibrate` expects on unseen data, as a person calls it.

    >>> expected_in_words("lm_rate"), expected_in_words("accuracy_minus_teacher")
    ('LM rate', 'accuracy minus that of the large model')
    """
    words = name.replace("_minus_teacher", " minus that of the large model").replace("lm_rate", "LM rate")
    return words.replace("_", "-")  # BLEU-4


def plain_settings(gate: Regression | str, fusion: Fusion | CaptionChoice | None) -> dict[str, Any]:
    """Gate and fusion as a file holds them: numbers by name, or what switches them off.

    Args:
        gate: a learned one, or "confidence".
        fusion: weights, or None.

    >>> plain_settings("confidence", None)
    {'gate': 'confidence', 'fusion': None}
    """
    return {
        "gate": gate if isinstance(gate, str) else asdict(gate),
        "fusion": None if fusion is None else asdict(fusion),
    }


def kind_of(name: str, numbers: Mapping[str, Any]) -> type:
    """The class of settings that numbers are of.

    Args:
        name: the option, as "gate".
        numbers: by name.

    >>> kind_of("gate", {"intercept": 0.1, "judge_spread": 1.0}).__name__
    'CaptionGate'
    """
    kinds = _SETTINGS[name]
    return next((kind for kind in kinds if numbers.keys() <= {own.name for own in fields(kind)}), kinds[0])


def _numbers(path: str | Path, name: str, given: Any) -> dict[str, float | None]:
    """One of the settings, its numbers within their range."""
    place = f"model.init_args.{name}"
    if not isinstance(given, dict):
        raise InputError(f"{path}: {place} holds no names with numbers")
    kind = kind_of(name, given)
    _refuse_others(path, given, f"{place}.", {field.name for field in fields(kind)})
    try:
        numbers = {who: _number(value) for who, value in given.items()}
        kind(**numbers)
    except ValueError as error:
        raise InputError(f"{path}: {place}: {error}") from error
    return numbers


def _number(value: Any) -> float | None:
    """A number, also one as 1e-3, which is a text to YAML; null stays null."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InputError(f"{value!r} is no number")
    try:
        return float(value)
    except ValueError as error:
        raise InputError(f"{value!r} is no number") from error
