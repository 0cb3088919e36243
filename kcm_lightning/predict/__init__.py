"""Answers to inputs of any number, out of files, folders or a pipe."""

from kcm_lightning.predict.predict import predict

__all__ = ["predict"]
