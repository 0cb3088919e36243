"""Where `calibrate` writes, so that it overwrites only what it made for the same target."""

import json
import re
from pathlib import Path

from kcm_lightning.utils.errors import InputError


def output_path(run: Path, output: str | None, target: str) -> Path:
    """The YAML to write; what is expected goes beside it as JSON of the same name.

    Args:
        run: the run folder.
        output: the YAML that the user names, in a folder that is made where missing; None for one in the run
            folder.
        target: the target, which stands in the JSON of an earlier `calibrate`.

    Raises:
        InputError: the file that the user names is no YAML, or was not made for this target by `calibrate`.
    """
    if output is None:
        path = run / "calibrated.yaml"
        return (
            path
            if _may_write(path, target)
            else run / f"calibrated-{re.sub('[^A-Za-z0-9._]+', '-', target)}.yaml"
        )
    path = Path(output)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"--output={output} is to be a YAML; what is expected goes beside it as JSON")
    if not _may_write(path, target):
        raise InputError(
            f"--output={output}: {path} or {path.with_suffix('.json')} is there already, and calibrate "
            f"did not make it for {target}: name another file"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output={output}: the folder cannot be made: {error.strerror}") from error
    return path


def _may_write(path: Path, target: str) -> bool:
    """Whether neither file is there, or the JSON is of an earlier `calibrate` for the same target."""
    beside = path.with_suffix(".json")
    if not path.exists() and not beside.exists():
        return True
    try:
        return json.loads(beside.read_text(encoding="utf-8"))["target"] == target
    except (OSError, ValueError, KeyError, TypeError):
        return False
