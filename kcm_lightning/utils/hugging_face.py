"""Loading frozen Hugging Face models, by hub name or folder."""

import hashlib
import json
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from kcm_lightning.utils.class_names import Labels
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.extras import require
from kcm_lightning.utils.image_io import open_or_refuse
from kcm_lightning.utils.model_classes import data_classes

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_NO_CONTENT = {"_name_or_path", "name_or_path", "_commit_hash", "transformers_version"}


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
    try:
        found = auto_class.from_pretrained(name, trust_remote_code=False, **kwargs)  # None would ask the user
        if auto_class.__name__ == "AutoTokenizer" and len(found) == len(set(found.all_special_ids)):
            raise OSError("it has no vocabulary")  # transformers makes up a tokenizer of special tokens alone
        return found
    except InputError:
        raise
    except Exception as error:  # damaged files make transformers raise almost anything
        reason = _in_one_line(error)
        if isinstance(error, ImportError) and "timm" in reason:
            require("timm", extra="timm", what=f"{option}: the model {name!r}")
        if isinstance(error, ImportError):
            raise InputError(f"{option}: the model {name!r} cannot be loaded: {reason}") from error
        if Path(name).is_dir():
            raise InputError(f"{option}: the folder {name!r} holds no model that loads: {reason}") from error
        raise InputError(
            f"{option}: the model {name!r} is neither a folder nor to be had from the Hugging Face hub or "
            "its local cache; download it where there is a network and give its folder, "
            f"{option}=/path/to/folder"
        ) from error


def whole_model(auto_class: Any, name: str, option: str, *, finetuning: str = "", **kwargs: Any) -> Any:
    """A model all of whose weights are in its files.

    transformers fills what is missing with random numbers, as the head of a model that was never fine-tuned.

    Args:
        auto_class: see `from_pretrained`.
        name: see `from_pretrained`.
        option: see `from_pretrained`.
        finetuning: the shipped configuration that makes a model with a head, for the error.
        **kwargs: passed on.

    Raises:
        InputError: it cannot be had, or some of its weights are in no file, or of another shape than its
            configuration says.
    """
    kwargs |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # they are named below
    model, found = from_pretrained(auto_class, name, option, **kwargs)
    if other := sorted(found["mismatched_keys"], key=str):
        weight, stored, wanted = other[0]
        raise InputError(
            f"{option}: {name!r} has weights of other shapes than its config.json says ({weight} is "
            f"{list(stored)}, by config.json {list(wanted)}); if the number of classes differs, name each in "
            "its `id2label`"
        )
    if missing := sorted(found["missing_keys"] & dict(model.named_parameters()).keys()):
        advice = f"fine-tune it first ({finetuning}) or give another" if finetuning else "give another"
        raise InputError(
            f"{option}: the files of {name!r} lack {len(missing)} of the weights of "
            f"{type(model).__name__}, for instance {missing[0]}: {advice}"
        )
    return model


def _in_one_line(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "its weights file holds more than weights, or is damaged; only weights are read"
    if "ignore_mismatched_sizes" in str(error):  # it refers to a report above, which need not be there
        return "its weights are of other shapes than its config.json says"
    return " ".join(str(error).split())[:200] or type(error).__name__


def places_of_outputs(
    config: Any, class_names: list[str], *, labels: Labels, option: str, finetuning: str
) -> Tensor | None:
    """Which of the data's classes each output of a classifier is; see `data_classes`.

    Args:
        config: configuration of the model, with `id2label`.
        class_names: the data's classes.
        labels: how to match them, the option `labels` of a large model.
        option: the options of the large model.
        finetuning: the shipped configuration that makes a model of such data.

    Returns:
        Class of each output, -1 for none, shape `(M,)`; None where they are the data's, in order.

    Raises:
        InputError: the model has not all of the data's classes, or their names do not match.
    """
    own = [config.id2label.get(i) for i in range(config.num_labels)]
    if len(own) < len(class_names):
        raise InputError(
            f"{option}.name: the model knows {len(own)} classes, the data has {len(class_names)}; "
            f"fine-tune it first ({finetuning}) or give another"
        )
    if any(config.id2label.get(i, "") is None for i in range(config.num_labels)):
        raise InputError(f"{option}.name: class {own.index(None)} of the model has no name in its `id2label`")
    if None in own:
        raise InputError(
            f"{option}.name: the model names its classes {sorted(config.id2label)}, not from 0 on"
        )
    places = data_classes(own, class_names, labels=labels, option=f"{option}.labels")
    return None if places == list(range(len(class_names))) else torch.tensor(places)


def check_precision(precision: str, *more: str) -> None:
    """Refuses a number format that is not known.

    Args:
        precision: the option.
        *more: formats that the model has beside those of `PRECISIONS`.

    Raises:
        InputError: it is none of them, nor "auto".
    """
    known = (*PRECISIONS, *more, "auto")
    if precision not in known:
        raise InputError(f"--model.teacher.precision={precision!r} is none of {', '.join(known)}")


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


def processed(processor: Any, images: Tensor | list[Path]) -> dict[str, Tensor]:
    """What an image processor makes of a batch, with the means that it is made for.

    Args:
        processor: of `AutoImageProcessor`.
        images: uint8, shape `(B, 3, H, W)`; or files, in their own sizes, which are decoded side by side.

    Raises:
        InputError: a file cannot be read.
    """
    if not isinstance(images, Tensor):
        return dict(processor(images=opened(images), return_tensors="pt"))
    if _is_of_timm(processor):  # which does not scale a tensor of whole numbers
        from torchvision.transforms.functional import to_pil_image

        return dict(processor(images=[to_pil_image(image.cpu()) for image in images], return_tensors="pt"))
    return dict(processor(images=images, return_tensors="pt"))


def opened(paths: list[Path]) -> list[Any]:
    """Whole images in RGB, decoded by as many threads as there are processors.

    Raises:
        InputError: one cannot be read.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(open_or_refuse, paths))


def most_tokens(model: torch.nn.Module, tokenizer: Any) -> int | None:
    """The longest text that a text model takes, in tokens; None where neither model nor tokenizer says it.

    Args:
        model: the model, or the part of it that reads texts.
        tokenizer: its tokenizer.
    """
    limits = [tokenizer.model_max_length] if tokenizer.model_max_length < 10**9 else []  # 10^30 is unknown
    config: Any = model.config
    positions = getattr(config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        # RoBERTa counts positions from behind the padding token's number on, and never reaches the last ones
        table = next(
            (own for name, own in model.named_modules() if name.endswith("position_embeddings")), None
        )
        padding = getattr(table, "padding_idx", None)
        limits.append(positions if padding is None else positions - padding - 1)
    return min(limits, default=None)


def fingerprint(model: torch.nn.Module, *processors: Any) -> str:
    """Hash of what a loaded model answers with: its weights, its configurations, its processors' files.

    It is of the weights in memory, so that it does not matter which files they came from: one or several, an
    adapter and the model below it.

    Args:
        model: a loaded Hugging Face model.
        *processors: what prepares its inputs: tokenizers and image processors.
    """
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        if not isinstance(value, Tensor):  # quantized layers keep a few words
            digest.update(f"{name} {value!r} ".encode())
            continue
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        values = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(values.numpy().data)
    config: Any = model.config
    for settings in (config, getattr(model, "generation_config", None)):
        digest.update(b"{}" if settings is None else _content_of(settings.to_dict()))
    for processor in processors:
        for name, content in sorted(_files_of(processor).items()):
            digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:32]


def _files_of(processor: Any) -> dict[str, bytes]:
    """The files that a processor would be saved in, without where it was loaded from."""
    if _is_of_timm(processor):  # which is not saved: the model's configuration has what it needs
        return {}
    with TemporaryDirectory() as folder:
        processor.save_pretrained(folder)
        paths = [path for path in Path(folder).rglob("*") if path.is_file()]
        files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return {
        name: _content_of(json.loads(content)) if name.endswith("config.json") else content
        for name, content in files.items()
    }


def _content_of(values: Any) -> bytes:
    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: kept(inner) for key, inner in value.items() if key not in _NO_CONTENT}
        return value

    return json.dumps(kept(values), sort_keys=True, default=str).encode()


def _is_of_timm(processor: Any) -> bool:
    return type(processor).__name__ == "TimmWrapperImageProcessor"
