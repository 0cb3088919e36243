"""Loading frozen Hugging Face models, by hub name or folder."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.extras import require

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def from_pretrained(auto_class: Any, name: str, option: str, **kwargs: Any) -> Any:
    """`auto_class.from_pretrained`, with one clear line where the model cannot be had.

    Args:
        auto_class: a class of transformers with `from_pretrained`.
        name: hub name or folder.
        option: the option of the configuration that named it.
        **kwargs: passed on.

    Raises:
        InputError: neither a folder with a model nor reachable on the hub.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    from safetensors import SafetensorError

    try:
        found = auto_class.from_pretrained(name, **kwargs)
        if auto_class.__name__ == "AutoTokenizer" and len(found) == len(set(found.all_special_ids)):
            raise OSError("it has no vocabulary")  # transformers makes up a tokenizer of special tokens alone
        return found
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        if isinstance(error, ImportError) and "timm" in reason:
            require("timm", extra="timm", what=f"{option}: the model {name!r}")
        if Path(name).is_dir():
            raise InputError(f"{option}: the folder {name!r} holds no model that loads: {reason}") from error
        raise InputError(
            f"{option}: the model {name!r} is neither a folder nor to be had from the Hugging Face hub or "
            "its local cache; download it where there is a network and give its folder, "
            f"{option}=/path/to/folder"
        ) from error


def label_order(config: Any, class_names: list[str], *, option: str, finetuning: str) -> torch.Tensor | None:
    """Where a classifier's outputs have the data's classes, matched by name where both have the same names.

    Args:
        config: configuration of the model, with `id2label`.
        class_names: the data's classes.
        option: the option of the configuration that named the model.
        finetuning: the shipped configuration that makes a model of such data.

    Returns:
        Output index of each class, shape `(V,)`; None where they are in order, or the names differ.

    Raises:
        InputError: the numbers of classes differ.
    """
    if config.num_labels != len(class_names):
        raise InputError(
            f"{option}: the model knows {config.num_labels} classes, the data has {len(class_names)}; "
            f"fine-tune it first ({finetuning}) or give another"
        )
    own = [_plain(config.id2label[i]) for i in range(len(class_names))]
    wanted = [_plain(name) for name in class_names]
    return torch.tensor([own.index(name) for name in wanted]) if set(own) == set(wanted) else None


def _plain(label: str) -> str:
    return label.lower().replace("_", " ").replace("-", " ").strip()


def precision_on(precision: str, device: torch.device) -> torch.dtype:
    """The precision of a frozen model on a device; "auto" is half on a GPU, float32 elsewhere."""
    if precision == "auto":
        precision = "float16" if device.type == "cuda" else "float32"
    return PRECISIONS[precision]


def freeze(
    model: torch.nn.Module, device: torch.device, precision: torch.dtype | None = None
) -> torch.nn.Module:
    """The model in eval mode and without gradients, on a device, in a precision where one is given."""
    return model.eval().requires_grad_(False).to(device, precision)


def fingerprint(name: str) -> str:
    """Hash of a model's configuration and weights.

    Args:
        name: hub name or folder of a model that has been loaded.
    """
    from transformers.utils import cached_file

    folder = Path(name)
    if not folder.is_dir():
        folder = Path(str(cached_file(name, "config.json", local_files_only=True))).parent
    digest = hashlib.sha256()
    for file in sorted(path for kind in ("*.json", "*.safetensors", "*.bin") for path in folder.glob(kind)):
        with file.open("rb") as stream:
            digest.update(file.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]
