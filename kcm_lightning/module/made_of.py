"""What the weights of a checkpoint are of: written into it, and compared when it is read.

Two models can have weights of the same shapes and mean other things by them: splines of grid 3 and order 1
have as many coefficients as those of grid 1 and order 3. So a checkpoint holds, beside its weights, the small
model as it is built, the classes in their order, and how the data prepare a sample.
"""

import hashlib
import inspect
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, Self

import torch
from torch import Tensor, nn

Plain = dict[str, Any]
# attributes of data modules that say how a sample is prepared
_PREPARATION = ("image_shape", "image_size", "mean", "std", "max_tokens", "max_length")
_PROBE = "Don't the 3 quick Foxes cost $4.50 in naïve cafés? <br/> C'est la VIE..."
_SHOWN = 4  # differences that an error names


@dataclass
class MadeOf:
    """What trained weights are of, plain values only.

    Args:
        layers: class of each part of the small model, by its name; that of the whole is "".
        settings: plain attributes of each part, by names like "features.1.grid".
        classes: the data's classes in the order of the labels; empty for captions.
        data: how the data prepare a sample, by the names of the options; None for what they do not do.
        options: names of the options that the model's class has; none where an earlier version did not say.
    """

    layers: dict[str, str]
    settings: Plain
    classes: list[str]
    data: Plain
    options: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, model: nn.Module, data: Any, class_names: list[str]) -> Self:
        """What the weights of a model are of.

        Args:
            model: the small model, as it is built: attributes that change while it works are no options.
            data: the data module.
            class_names: the data's classes, in the order of the labels.
        """
        layers = {name: type(part).__name__ for name, part in model.named_modules()}
        options = sorted(_options_of(type(model)))
        return cls(layers, dict(_settings(model)), list(class_names), preparation_of(data), options)

    @classmethod
    def read(cls, found: Any) -> Self:
        """What a checkpoint says.

        Raises:
            ValueError: it is none of these.
        """
        kinds = {"layers": dict, "settings": dict, "classes": list, "data": dict, "options": list}
        known: Plain = {"options": []} | found if isinstance(found, dict) else {}
        if not all(isinstance(known.get(name), kind) for name, kind in kinds.items()):
            raise ValueError("not what weights are of")
        return cls(**{name: known[name] for name in kinds})

    def as_plain(self) -> Plain:
        """For a checkpoint."""
        return asdict(self)

    def compare(self, now: Self, *, model: nn.Module, data: Any, option: str) -> None:
        """Refuses to use weights for something else.

        Args:
            now: what the weights are to be used for.
            model: the small model of now.
            data: the data module of now.
            option: the option that holds the small model, for instance "model.judge".

        Raises:
            ValueError: they differ; the message names each option with its value then and now.
        """
        found = [*self._in_model(now, type(model), option), *self._in_data(now, type(data))]
        if found:
            more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise ValueError("; ".join(found[:_SHOWN]) + more)

    def _in_model(self, now: Self, kind: type, option: str) -> Iterator[str]:
        if self.layers.get("") != now.layers.get(""):
            yield f"--{option} was {self.layers.get('')}, is {now.layers.get('')}"
            return
        said: set[str] = set()
        for name in sorted(self._comparable(now), key=lambda own: (own.count("."), own)):
            then, own = (found.settings.get(name, _UNSET) for found in (self, now))
            if _same(then, own):
                continue
            part, _, attribute = name.rpartition(".")
            known = attribute in _options_of(kind)
            line = f"--{option}.{attribute}" if known else f"{attribute} in --{option} ({part or 'itself'})"
            if attribute not in said:
                yield f"{line} was {then}, is {own}"
            said.add(attribute)
        if not said and self.layers != now.layers:
            parts = sorted(self.layers.keys() | now.layers.keys())
            part = next(name for name in parts if self.layers.get(name) != now.layers.get(name))
            yield f"{part} in --{option} was {self.layers.get(part)}, is {now.layers.get(part)}"

    def _comparable(self, now: Self) -> set[str]:
        """Settings that both have; and where one has it alone, those that are options of both.

        What is no option of one of them is of another version, which is no difference.
        """
        options, parts = {*self.options} & {*now.options}, self.layers.keys() & now.layers.keys()

        def is_of_both(name: str) -> bool:
            part, _, attribute = name.rpartition(".")
            return attribute in options and part in parts

        alone = self.settings.keys() ^ now.settings.keys()
        return (self.settings.keys() & now.settings.keys()) | set(filter(is_of_both, alone))

    def _in_data(self, now: Self, kind: type) -> Iterator[str]:
        if len(self.classes) != len(now.classes):
            yield f"the data had {len(self.classes)} classes, have {len(now.classes)}"
        elif pairs := [(a, b) for a, b in zip(self.classes, now.classes, strict=True) if a != b]:
            which = "in another order" if set(self.classes) == set(now.classes) else "other ones"
            then, own = pairs[0]
            number = self.classes.index(then)
            yield f"the data's classes are {which} (class {number} was {then!r}, is {own!r})"
        for name in sorted(self.data.keys() & now.data.keys()):
            if not _same(self.data[name], now.data[name]):
                what = f"--data.{name}" if name in _options_of(kind) else f"the data's {name}"
                yield f"{what} was {self.data[name]}, is {now.data[name]}"


def preparation_of(data: Any) -> Plain:
    """How a data module prepares a sample for the small models.

    None is what it does not do; what is only known once data are read has no entry before.
    """
    known = {name: _plain(getattr(data, name, None)) for name in _PREPARATION}
    units = getattr(data, "vocabulary", data)
    known |= {"tokenizer": None} | preparation_by(getattr(units, "tokenizer", None))
    is_read = hasattr(data, "positions")
    certain = {"tokenizer"} if units is not data or is_read else set()
    certain |= set(known) if is_read else set()
    return {
        name: value
        for name, value in known.items()
        if value is not _NOT_PLAIN and (value is not None or name in certain)
    }


def preparation_by(processor: Any) -> Plain:
    """How a Hugging Face tokenizer or image processor prepares a sample; nothing of anything else."""
    if hasattr(processor, "get_vocab"):
        return {"tokenizer": _tokenizer_digest(processor)}
    if not hasattr(processor, "image_mean"):
        return {}
    return {name: _plain(getattr(processor, name)) for name in ("image_mean", "image_std")}


def _tokenizer_digest(tokenizer: Any) -> str:
    """A hash of a tokenizer's vocabulary and of how it splits a text."""
    vocabulary = sorted(tokenizer.get_vocab().items())
    split = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    return hashlib.sha256(repr([vocabulary, split]).encode()).hexdigest()[:16]


def _options_of(kind: type) -> set[str]:
    return set(inspect.signature(kind).parameters)


def _settings(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Plain attributes of all parts of a model, but what has a say in training alone."""
    for path, part in model.named_modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            continue
        training_alone = {"training", "dropout", *getattr(part, "only_for_training", ())}
        unsaved = part._non_persistent_buffers_set
        values = vars(part) | {name: value for name, value in part._buffers.items() if name in unsaved}
        for name, value in values.items():
            plain = _NOT_PLAIN if name.startswith("_") or name in training_alone else _plain(value)
            if plain is not _NOT_PLAIN:
                yield f"{path}.{name}".removeprefix("."), plain


_NOT_PLAIN = object()
_UNSET = "unset, or no plain value"


def _plain(value: Any) -> Any:
    """A value as a checkpoint can hold it, or `_NOT_PLAIN`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, torch.dtype):
        return str(value)
    if isinstance(value, Tensor):
        return _summary(value)
    if inspect.isfunction(value) or inspect.isbuiltin(value) or inspect.isclass(value):
        return value.__name__
    if isinstance(value, dict):
        value = [[str(key), own] for key, own in value.items()]
    if isinstance(value, tuple | list) and len(value) <= 1_000:
        parts = [_plain(own) for own in value]
        return _NOT_PLAIN if any(own is _NOT_PLAIN for own in parts) else parts
    return _NOT_PLAIN


def _summary(values: Tensor) -> Any:
    """Shape and a few figures of a tensor: what is computed differs in its last digits between machines."""
    if not values.numel() or values.is_complex() or values.is_meta:
        return list(values.shape)
    exact = values.detach().double()
    figures = (exact.flatten()[0], exact.flatten()[-1], exact.mean(), exact.std(correction=0))
    return [list(values.shape), *(float(own) for own in figures)]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=1e-6) or (one != one and other != other)
    return one == other
