"""The command line; the only package that knows it."""

from kcm_lightning.cli.main import main

__all__ = ["main"]
