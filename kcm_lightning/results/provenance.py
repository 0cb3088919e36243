"""Where the figures of a run come from."""

import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L

from kcm_lightning.seed import global_seed


def provenance(data: L.LightningDataModule, config: Mapping[str, Any]) -> dict[str, Any]:
    """Seed, commit, command, versions, data and configuration of a run, plain values only."""
    return {
        "seed": global_seed(),
        "commit": _commit(),
        "command": shlex.join(["python", "-m", "kcm_lightning", *sys.argv[1:]]),
        "versions": {name: version(name) for name in ("torch", "lightning", "torchmetrics", "transformers")},
        "data": {"name": data.name, "title": data.title, "splits": data.fingerprint()},
        "config": dict(config),
    }


def _commit() -> str | None:
    """The commit of the code, marked where the working tree differs from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()
