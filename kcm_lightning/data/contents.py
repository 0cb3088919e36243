"""What a sample is by its content, whatever its name, its place, and the data around it."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def content_id(content: bytes) -> int:
    """63 bits of the hash of some content."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) >> 1


def content_ids(inputs: Iterable[Tensor | str]) -> Tensor:
    """Hashes of inputs by their content: of a tensor its shape and values, of a text its letters.

    Returns:
        Shape `(N,)`.
    """
    return torch.tensor([content_id(_bytes_of(one)) for one in inputs], dtype=torch.long)


def _bytes_of(one: Tensor | str) -> bytes:
    if isinstance(one, str):
        return one.encode()
    values = one.contiguous().numpy()
    return f"{values.dtype} {values.shape} ".encode() + values.tobytes()


def digest(*columns: Tensor) -> str:
    """A short hash of some samples by columns of numbers of each, whatever their order.

    Args:
        *columns: hashes of the inputs, labels and the like, each of shape `(N,)`.
    """
    rows = torch.stack(columns, dim=1)
    for column in reversed(range(rows.shape[1])):
        rows = rows[rows[:, column].argsort(stable=True)]
    return hashlib.sha256(rows.numpy().tobytes()).hexdigest()[:16]
