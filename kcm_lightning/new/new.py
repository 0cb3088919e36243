"""Looks at data and large model, and writes a configuration out of a shipped one."""

import re
import shlex
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from kcm_lightning.data import ImageFolder, TextTable
from kcm_lightning.new.large_model import Large, large_model
from kcm_lightning.new.look import findings
from kcm_lightning.utils.console import PROGRAM
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import write_text

_WORK = 40_000  # training samples that the judge sees, so that a first table is there in minutes
_LEAST, _MOST = 4, 30  # epochs


@dataclass
class Wanted:
    """What the user says.

    Args:
        kind: "images" or "texts".
        source: folder or table of images; table of texts.
        large: see `large_model`.
        output: configuration to write.
        text: columns of the text.
        label: column of the class, of texts or of a table of images.
        labels: the data's class names by the large model's.
        server: address of a chat model's server.
        tokenizer: hub name or folder of the small model's tokenizer; None for that of a Hugging Face large
            model, else BERT's.
        encoder: hub name or folder of an encoder for `EncoderWithHead`; None for a small model of its own.
        prepared: folder for the decoded images or tokenized texts.
    """

    kind: Literal["images", "texts"]
    source: str
    large: str
    output: Path
    text: list[str]
    label: str
    labels: dict[str, str] | None = None
    server: str | None = None
    tokenizer: str | None = None
    encoder: str | None = None
    prepared: str = "runs/prepared"


def new(wanted: Wanted, template: str) -> list[str]:
    """Writes a configuration; says what was found and what to run.

    Args:
        wanted: what the user says.
        template: text of the shipped configuration of this kind.

    Raises:
        InputError: data or large model cannot be used, or the configuration is there already.
    """
    if wanted.output.exists():
        raise InputError(f"--output: {wanted.output} is there already: name another, or remove it")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = _data(wanted)
        data.prepare_data()
        data.setup()
        large = large_model(
            wanted.large, wanted.kind, data.class_names, labels=wanted.labels, server=wanted.server
        )
    said = [
        *findings(data),
        *(str(own.message) for own in caught if own.category is UserWarning),
        *large.said,
    ]
    write_text(wanted.output, _filled(template, wanted, data, large))
    config = shlex.quote(str(wanted.output))
    run = f"runs/{wanted.output.stem}/0"
    return [
        *(f"- {sentence}" for sentence in said),
        f"written: {wanted.output}",
        "next, the first table in some minutes:",
        f"  {PROGRAM} fit --config {config}",
        f"  {PROGRAM} calibrate --config {config} --target lm_rate=0.5",
        f"  {PROGRAM} test --config {run}/config.yaml --config {run}/calibrated.yaml",
    ]


def _data(wanted: Wanted) -> Any:
    if wanted.kind == "images":
        return ImageFolder(wanted.source, image_size=32, label=wanted.label, prepared=wanted.prepared)
    return TextTable(
        wanted.source,
        text=wanted.text,
        label=wanted.label,
        tokenizer=_tokenizer(wanted),
        max_tokens=128,
        prepared=wanted.prepared,
    )


def _tokenizer(wanted: Wanted) -> str:
    if wanted.tokenizer or wanted.encoder:
        return str(wanted.tokenizer or wanted.encoder)
    is_model = ":" not in wanted.large and not Path(wanted.large).suffix
    return wanted.large if is_model else "bert-base-uncased"


def _filled(template: str, wanted: Wanted, data: Any, large: Large) -> str:
    """The shipped configuration with the user's values; its comments stay."""
    samples = len(data.positions["train"])
    epochs = min(_MOST, max(_LEAST, round(_WORK / samples)))
    values: dict[str, Any] = {
        "num_classes": len(data.class_names),
        "label": wanted.label,
        "prepared": wanted.prepared,
    }
    if wanted.kind == "images":
        values |= {"root": wanted.source}
    else:
        text = wanted.text[0] if len(wanted.text) == 1 else wanted.text
        values |= {"path": wanted.source, "text": text, "tokenizer": _tokenizer(wanted)}
        values |= {"vocab_size": data.vocab_size}
    rest = _without_introduction(template)
    for name, value in values.items():
        rest = _set(rest, name, value)
    rest = _replace_block(rest, "teacher", _block("teacher", "large", large.class_path, large.options))
    if wanted.encoder:
        judge = {"num_classes": len(data.class_names), "encoder": wanted.encoder, "head": "kan", "size": "m"}
        rest = _replace_block(rest, "judge", _block("judge", "small", "EncoderWithHead", judge))
    rest = _with_epochs(rest, judge=epochs, student=max(2, epochs // 2))
    said = "written by `new`. Options beat what stands here."
    return f"# {wanted.kind.capitalize()} of {wanted.source}, {said}\n{rest}"


def _without_introduction(template: str) -> str:
    lines = template.splitlines()
    first = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(lines[first:]) + "\n"


def _set(text: str, name: str, value: Any) -> str:
    """The text with an option's value replaced, its comment kept in its place."""
    pattern = re.compile(rf"^(\s+{name}: \S.*?)(\s+#.*)?$", re.MULTILINE)

    def replaced(found: re.Match) -> str:
        start = f"{found[0].split(':')[0]}: {_as_yaml(value)}"
        comment = (found[2] or "").strip()
        place = len(found[1]) + len(found[2] or "") - len(comment)
        return f"{start.ljust(place - 2)}  {comment}" if comment else start

    return pattern.sub(replaced, text, count=1)


def _as_yaml(value: Any) -> str:
    """A value in one line of YAML, quoted only where it has to be."""
    dumped = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return dumped.removesuffix("\n").removesuffix("\n...")


def _block(name: str, room: str, class_path: str, options: dict[str, Any]) -> str:
    lines = [f"    {name}:", f"      class_path: kcm_lightning.{room}.{class_path}", "      init_args:"]
    for key, value in options.items():
        if isinstance(value, dict):
            lines.append(f"        {key}:")
            lines += [f"          {_as_yaml(own)}: {_as_yaml(other)}" for own, other in value.items()]
        else:
            lines.append(f"        {key}: {_as_yaml(value)}")
    return "\n".join(lines) + "\n"


def _replace_block(text: str, name: str, block: str) -> str:
    """The text with the lines of one part of the model replaced."""
    return re.sub(rf"^    {name}:.*\n(?:      .*\n)+", lambda _: block, text, count=1, flags=re.MULTILINE)


def _with_epochs(text: str, *, judge: int, student: int) -> str:
    counts = iter((judge, student))
    return re.sub(r"epochs: \d+", lambda _: f"epochs: {next(counts)}", text)
