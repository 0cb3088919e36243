"""What a large model is shown, told apart by content."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kcm_lightning.utils.errors import InputError

_SIZE = 16  # bytes of a digest


def input_digests(inputs: Any) -> list[bytes]:
    """A digest of each sample of a batch: of its pixels or words, and of what is in a file that it names.

    Args:
        inputs: B samples: a tensor, a dictionary of such batches, or a list of texts, paths, arrays or
            images.

    Returns:
        B times 16 bytes, different for different content.

    Raises:
        InputError: they are of another kind, or a file cannot be read.
    """
    if isinstance(inputs, Tensor):
        return _of_rows(inputs)
    if isinstance(inputs, dict):
        parts = zip(*(input_digests(inputs[name]) for name in sorted(inputs)), strict=True)
        names = " ".join(sorted(inputs)).encode()
        return [hashlib.sha256(names + b"".join(part)).digest()[:_SIZE] for part in parts]
    return [_of_one(value) for value in inputs]


def _of_rows(values: Tensor) -> list[bytes]:
    head = hashlib.sha256(f"{values.dtype} {tuple(values.shape[1:])} ".encode())
    rows = values.detach().cpu().contiguous().reshape(len(values), values[:1].numel()).view(torch.uint8)
    found = []
    for row in rows.numpy():
        digest = head.copy()
        digest.update(row)
        found.append(digest.digest()[:_SIZE])
    return found


def _of_one(value: Any) -> bytes:
    if isinstance(value, Tensor):
        return _of_rows(value.unsqueeze(0))[0]
    if isinstance(value, str | Path):
        return _of_text_or_file(value)
    if isinstance(value, np.ndarray):
        kind, content = f"{value.dtype} {value.shape}", np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Image.Image):
        kind, content = f"{value.mode} {value.size} {value.getpalette()}", value.tobytes()
    elif isinstance(value, bytes):
        kind, content = "bytes", value
    else:
        raise InputError(
            f"--model.cache: inputs of the kind {type(value).__name__} cannot be told apart by content; "
            "leave the cache out"
        )
    return hashlib.sha256(f"{kind} ".encode() + content).digest()[:_SIZE]


def _of_text_or_file(value: str | Path) -> bytes:
    path = Path(value)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # too long for a path, or with a NUL: a text
        is_file = False
    if not is_file:
        return hashlib.sha256(b"text " + str(value).encode("utf-8", "surrogatepass")).digest()[:_SIZE]
    try:
        with path.open("rb") as file:
            return hashlib.sha256(b"file " + hashlib.file_digest(file, "sha256").digest()).digest()[:_SIZE]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
