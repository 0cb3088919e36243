"""Checks before anything is trained: sizes, losses, tokenizers, the judge of another run, a compiler."""

import os
import shutil
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from kcm_lightning.core.pruning import Pruning
from kcm_lightning.data.base import KCMDataModule
from kcm_lightning.data.vocabulary import Vocabulary
from kcm_lightning.large import Chat, LargeCaptioner, LargeModel
from kcm_lightning.module.made_of import MadeOf
from kcm_lightning.module.named_weights import check_weights
from kcm_lightning.utils.checkpoint_file import read_checkpoint
from kcm_lightning.utils.errors import InputError


def check_sizes(
    small: nn.Module, data: KCMDataModule, *, pruning: Pruning | None = None, option: str = "model.judge"
) -> None:
    """Whether a small model's sizes, and the classes to prune, are the data's.

    Args:
        small: the small model.
        data: the data module, set up.
        pruning: classes to prune.
        option: the option that holds the small model.

    Raises:
        InputError: they differ.
    """
    sizes = {"num_classes": ("classes", len(data.class_names)), "vocab_size": ("tokens", data.vocab_size)}
    for size, (what, has) in sizes.items():
        knows = getattr(small, size, has)
        if has is not None and knows != has:
            who = option.rsplit(".", 1)[-1]
            raise InputError(
                f"the {who} knows {knows} {what}, the data has {has}: set --{option}.{size}={has}"
            )
    count = len(data.class_names)
    if pruning is not None and not set(pruning.classes) < set(range(count)):
        raise InputError(
            f"--model.pruning.classes: give some of the classes 0 to {count - 1}, not {pruning.classes}"
        )


def check_inputs(teacher: LargeModel, data: KCMDataModule) -> None:
    """Whether the large model reads what the data have.

    Raises:
        InputError: it is for texts, and they are images, or the other way round.
    """
    has = "images" if data.vocab_size is None else "texts"
    if teacher.reads not in (None, has):
        advice = "its --model.teacher.prompt says {text} for texts" if isinstance(teacher, Chat) else ""
        raise InputError(
            f"--model.teacher: {type(teacher).__name__} is asked about {teacher.reads}, and these data are "
            f"{has}: {advice or 'give another large model'}"
        )


def check_loss(judge: nn.Module, loss: str, data: KCMDataModule) -> None:
    """Whether judge and data have what the judge's loss needs.

    Raises:
        InputError: the loss is for several experts with cosines times 30, and the judge has none; or it
            divides by the frequency of a class that has no training sample.
    """
    if loss == "tlc" and (empty := int((data.class_counts == 0).sum())):
        raise InputError(
            f"--model.loss=tlc divides by class frequencies, and {empty} classes have no training sample"
        )
    if loss == "tlc" and not hasattr(judge, "by_expert"):
        raise InputError(
            "--model.loss=tlc is for several experts: set --model.judge kcm_lightning.small.ExpertResNet32"
        )
    if loss == "tlc" and judge.scale != 30:
        raise InputError(
            f"--model.judge.scale={judge.scale}: the margins of --model.loss=tlc are for a scale of 30"
        )


def start_judge(
    judge: nn.Module,
    path: str | None,
    own: MadeOf,
    data: KCMDataModule,
    *,
    vocabulary: list | None = None,
) -> None:
    """Gives a judge what a fresh training starts with.

    Args:
        judge: the judge to fill.
        path: checkpoint of a run whose judge it takes; None leaves it to the network.
        own: what the judge's weights are to be of.
        data: the data module.
        vocabulary: units that a captioner's numbers stand for; None for a classifier.

    Raises:
        InputError: there is no such checkpoint, it is damaged, or its judge is another one: of other options,
            classes, vocabulary, or of data that are prepared otherwise.
    """
    if path is None:
        if hasattr(judge, "initialize"):
            initialize: Any = judge.initialize
            initialize()
        return
    checkpoint = read_checkpoint(path, "--model.judge_ckpt")
    state = checkpoint["state_dict"]
    if not any(key.startswith("judge.") for key in state):
        raise InputError(f"--model.judge_ckpt: {path!r} is no checkpoint of a run with a judge")
    check_weights(checkpoint, path, own, model=judge, data=data, option="model.judge")
    if checkpoint.get("vocabulary", vocabulary) != vocabulary:
        raise InputError(f"--model.judge_ckpt: the judge in {path!r} was trained with another vocabulary")
    state = {key.removeprefix("judge."): value for key, value in state.items() if key.startswith("judge.")}
    try:
        judge.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"--model.judge_ckpt: the judge in {path!r} has another shape than this one"
        ) from error


def vocabulary_in(checkpoint: dict[str, Any], path: str, judge: nn.Module) -> list:
    """The units that a captioner's numbers stand for, as a checkpoint has them.

    Args:
        checkpoint: what it holds.
        path: its file, for the error.
        judge: the captioner whose weights it holds.

    Raises:
        InputError: it has none, or not as many as the captioner.
    """
    units = checkpoint.get("vocabulary")
    if not isinstance(units, list) or len(Vocabulary(units)) != judge.vocab_size:
        raise InputError(f"{path} holds no vocabulary of {judge.vocab_size} tokens: it is of other captions")
    return units


def has_compiler() -> bool:
    """Whether torch can compile for some device here; says what it means where it cannot."""
    compilers = (os.environ.get("CXX", "g++"), "clang++")
    found = torch.cuda.is_available() or any(shutil.which(name) for name in compilers)
    if not found:
        rank_zero_warn(
            "no C++ compiler was found: the small models run uncompiled, which is several times slower"
        )
    return found


def check_tokenizer(vocabulary: Vocabulary, teacher: LargeCaptioner) -> None:
    """Whether small and large model mean the same by a token, where both have a tokenizer.

    Raises:
        InputError: they do not.
    """
    if vocabulary.tokenizer is None or teacher.tokenizer is None:
        return
    own, large = vocabulary.tokenizer.get_vocab(), teacher.tokenizer.get_vocab()
    if any(large.get(token) != number for token, number in own.items()):
        raise InputError(
            "--data.tokenizer is not the large model's: give the name of the large model, or null for words"
        )
