"""Small and large models working together: KCM in PyTorch Lightning."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("kcm_lightning")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Imports on first use, so that `import kcm_lightning` costs nothing."""
    if name == "load":
        from kcm_lightning.api import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
