"""The answers to all samples, across batches and processes."""

from typing import Any

import torch
import torch.distributed
from torch import Tensor

from kcm_lightning.core.predictions import Outcome, take

Columns = dict[str, Any]


def gather(outcomes: list[Outcome], batches: list[dict]) -> Columns:
    """The columns of all samples, in the order of the samples' sample ids.

    Args:
        outcomes: outcome of each batch.
        batches: what goes with them: index, and any other column.

    Returns:
        One tensor on the CPU, or list, with N rows a field of `Outcome` that has values, and one of each
        batch's.
    """
    columns: Columns = {
        name: _joined([getattr(o, name) for o in outcomes]) for name in Outcome.__dataclass_fields__
    }
    columns |= {name: _joined([b[name] for b in batches]) for name in batches[0]}
    columns = {name: values for name, values in columns.items() if values is not None}
    parts = of_every_process(columns)
    if len(parts) > 1:  # else it would only be copied
        columns = {name: _joined([part[name] for part in parts]) for name in columns}
    order = columns["index"].argsort() if "index" in columns else torch.arange(len(columns["route"]))
    return {name: take(values, order) for name, values in columns.items()}


def of_every_process(own: Any) -> list[Any]:
    """What each process gives, to all of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    parts: list = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, own)
    return parts


def _joined(parts: list[Any]) -> Tensor | list | None:
    if isinstance(parts[0], Tensor):
        return torch.cat([part.cpu() for part in parts])
    return None if parts[0] is None else [value for part in parts for value in part]
