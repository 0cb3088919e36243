"""Where `calibrate` writes: the newest thresholds under one name, and no earlier ones are lost."""

import hashlib
import re
from pathlib import Path
from typing import Any

from kcm_lightning.calibrate.target import Target
from kcm_lightning.results.calibrated_file import read_calibrated, report_of
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import write_json, write_text

# of a report, what tells it from another one of the same target
_OF = (
    "samples",
    "thresholds",
    "temperatures",
    "gate",
    "fusion",
    "certificate",
    "checkpoint_sha256",
    "run_id",
    "data",
    "large_model_identity",
)


def output_path(run: Path, output: str | None, target: Target) -> Path:
    """The YAML to write; what is expected goes beside it as JSON of the same name.

    Args:
        run: the run folder.
        output: the YAML that the user names; None for one in the run folder that is named by the target, of
            which `calibrated.yaml` there is to be a copy.
        target: what thresholds are chosen for.

    Raises:
        InputError: the file that the user names is no YAML, or was not made for this target by `calibrate`.
    """
    if output is None:
        return run / f"calibrated-{_word(str(target))}.yaml"
    path = Path(output)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"--output={output} is to be a YAML; what is expected goes beside it as JSON")
    is_there = path.exists() or path.with_suffix(".json").exists()
    if is_there and _target_of(report_of(path)) != target:
        raise InputError(
            f"--output={output}: {path} or {path.with_suffix('.json')} is there already, and calibrate "
            f"did not make it for {target}: name another file"
        )
    return path


def make_folder(path: Path) -> None:
    """Makes the folder of a file where missing.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output={path}: the folder cannot be made: {error.strerror}") from error


def write(report: dict[str, Any], settings: str, path: Path, newest: Path | None = None) -> str:
    """Writes the settings as YAML and the report as JSON beside it; keeps earlier ones that say other things.

    Args:
        report: what was chosen, for what and on what.
        settings: the YAML.
        path: where to write.
        newest: where a copy goes, which replaces that of an earlier `calibrate`; None for no copy.

    Returns:
        What was replaced by something else, and where it is kept, for the user; empty where nothing was.

    Raises:
        InputError: the place cannot be written to.
    """
    said = ""
    for place in (path, *([newest] if newest else [])):
        said = _keep_other(place, report)
        write_json(place.with_suffix(".json"), report)  # first: it says that the other one is calibrate's
        write_text(place, settings)
    return said


def _keep_other(path: Path, report: dict[str, Any]) -> str:
    """Copies what is there to a name of its own where a report says something else."""
    beside = path.with_suffix(".json")
    there = [file for file in (path, beside) if file.is_file()]
    earlier = report_of(path)
    if not there or (earlier and _says(earlier) == _says(report) and _is_as_written(path, earlier)):
        return ""
    what = f"{earlier['target']} on {earlier['samples']} samples" if earlier else "not calibrate's"
    for other in sorted(path.parent.glob("*.yaml")):
        if other != path and all(_is_copy(file, other.with_suffix(file.suffix)) for file in there):
            return f"{path} was another one ({what}), which is kept as {other}"
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in there)).hexdigest()[:8]
    word = _word(earlier["target"]) if earlier else "earlier"
    stem = path.stem if path.stem.endswith(word) else f"{path.stem}-{word}"
    kept = path.with_name(f"{stem}-{digest}{path.suffix}")
    for file in there:
        write_text(kept.with_suffix(file.suffix), file.read_text(encoding="utf-8", errors="replace"))
    return f"{path} was another one ({what}), which is kept as {kept}"


def _says(report: dict[str, Any]) -> list[Any]:
    return [report.get(name) for name in _OF] + [_target_of(report)]


def _target_of(report: dict[str, Any]) -> Target | None:
    try:
        return Target.parse(report["target"])
    except (InputError, KeyError, AttributeError):
        return None


def _is_as_written(path: Path, report: dict[str, Any]) -> bool:
    """Whether a YAML has the numbers of the report beside it: a user may have changed them since."""
    try:
        settings = read_calibrated(path)
    except InputError:
        return False
    return all(report.get(name) == numbers for name, numbers in settings.items())


def _is_copy(file: Path, other: Path) -> bool:
    return other.is_file() and file.read_bytes() == other.read_bytes()


def _word(target: str) -> str:
    """A target as a part of a file's name."""
    return re.sub("[^A-Za-z0-9._]+", "-", target)
