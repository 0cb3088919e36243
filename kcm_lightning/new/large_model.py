"""Which class of large model a name stands for."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.hugging_face import from_pretrained
from kcm_lightning.utils.model_classes import data_classes

CHAT = "chat:"
RECORDED = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_DUAL = ("clip", "siglip", "siglip2", "align", "chinese_clip", "metaclip_2")


@dataclass
class Large:
    """A large model as a configuration has it.

    Args:
        class_path: the class.
        options: of the class.
        said: what there is to say about it.
    """

    class_path: str
    options: dict[str, Any]
    said: list[str]


def large_model(
    name: str,
    kind: Literal["texts", "images"],
    class_names: list[str],
    *,
    labels: dict[str, str] | None,
    server: str | None,
) -> Large:
    """Looks at what a large model is, without loading its weights.

    Args:
        name: hub name or folder of a Hugging Face model; `chat:NAME` for a chat model; or a file of recorded
            answers.
        kind: what it is to be asked about.
        class_names: the data's classes.
        labels: the data's names by the model's, where they differ.
        server: address of a chat model's server; None for OpenAI's.

    Raises:
        InputError: there is no such model, it is of another kind, or its classes are not the data's.
    """
    if name.startswith(CHAT):
        return _chat(name.removeprefix(CHAT), kind, class_names, server)
    if Path(name).suffix.lower() in RECORDED:
        if not Path(name).is_file():
            raise InputError(f"--large: there is no file {name!r}")
        return Large("Recorded", {"path": name}, ["recorded answers: nothing is asked"])
    return _hugging_face(name, kind, class_names, labels)


def _hugging_face(
    name: str, kind: Literal["texts", "images"], class_names: list[str], labels: dict[str, str] | None
) -> Large:
    from transformers import AutoConfig

    config = from_pretrained(AutoConfig, name, "--large")
    architecture = (config.architectures or [""])[0]
    if kind == "images" and config.model_type in _DUAL:
        return Large("CLIP", {"name": name}, [f"{config.model_type}: compares images with the class names"])
    ending = "ForImageClassification" if kind == "images" else "ForSequenceClassification"
    if not architecture.endswith(ending):
        raise InputError(
            f"--large: {name!r} is a {architecture or config.model_type}, and {kind} need a classifier of "
            + "them"
            + (", or a CLIP or SigLIP" if kind == "images" else "")
            + f", or {CHAT}NAME"
        )
    own = [config.id2label[number] for number in range(config.num_labels)]
    if kind == "texts" and any(str(label).lower().startswith("entail") for label in own):
        said = f"reads each text once for each of the {len(class_names)} classes"
        return Large("ZeroShotText", {"name": name}, [f"a model of natural language inference: {said}"])
    data_classes(own, class_names, labels=labels or "by_name", option="--labels")
    which = "ImageClassifier" if kind == "images" else "TextClassifier"
    options: dict[str, Any] = {"name": name, "labels": labels or "by_name"}
    return Large(
        which, options, [f"a classifier of {len(own)} classes, the data's {len(class_names)} among them"]
    )


def _chat(model: str, kind: str, class_names: list[str], server: str | None) -> Large:
    ask = "Which of these is it: {labels}? Answer with its name alone."
    options: dict[str, Any] = {
        "model": model,
        "base_url": server,
        "system": "You sort what you are shown and answer with the name of a class.",
        "prompt": ask + ("\n\n{text}" if kind == "texts" else " The image:"),
        "max_tokens": 16,
        "extra": {"temperature": 0, "top_logprobs": min(20, max(2, len(class_names)))},
        "prices": {"input": 0.0, "output": 0.0},
        "budget": {"calls": 2_000},
        "fit_budget": {"calls": 500},
    }
    said = ["a chat model: set its prices (of a million tokens), and look at the two budgets"]
    if len(class_names) > 20:
        said.append(f"it says the probabilities of 20 of the {len(class_names)} classes at most")
    if server is None and not os.environ.get("OPENAI_API_KEY"):
        said.append("OPENAI_API_KEY holds no key yet; for a server of your own give --server URL")
    return Large("Chat", options, said)
