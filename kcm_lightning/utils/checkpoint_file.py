"""Reading a checkpoint: tensors and plain values, and nothing that runs."""

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.utils.errors import InputError


def read_checkpoint(path: str | Path, option: str) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU.

    Args:
        path: the file.
        option: the option that names it, for the error.

    Raises:
        InputError: there is no such file, it is damaged or of something else, it holds more than tensors and
            plain values, or its weights are no table of tensors.
    """
    if not Path(path).is_file():
        raise InputError(f"{option}: there is no file {str(path)!r}")
    where = f"{option}: {str(path)!r}"
    try:
        _check_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is no checkpoint torch warns before it fails
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way
        # torch's line for a name that is neither a tensor's nor a plain value's
        if named := re.search(r"\bGLOBAL ([\w.]+)", str(error)):
            more = f"holds more than tensors and plain values, {named[1]}"
            said = f"{more}: it could run a program, and is not loaded"
        else:
            said = _DAMAGED
        raise InputError(f"{where} {said}") from error
    state = found.get("state_dict") if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise InputError(f"{where} {_DAMAGED}")
    if odd := next((name for name, value in state.items() if not isinstance(value, Tensor)), None):
        raise InputError(f"{where} {_DAMAGED}: {odd!r} is no tensor")
    return found


_DAMAGED = "is no checkpoint of a run, or cut off"


def _check_archive(path: str | Path) -> None:
    """Compares the checksums that `torch.save` writes, which `torch.load` does not look at."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"{damaged} does not match its checksum")
