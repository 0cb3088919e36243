"""The parser of the command line."""

from enum import Enum
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser, get_loader, set_loader
from jsonargparse.typing import register_type

from kcm_lightning.cli.option_errors import one_line
from kcm_lightning.utils.errors import InputError


class OneLineErrors(ArgumentParser):
    """Says what is wrong in one line, without the page of usage before it; options have one spelling."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        known = [name for action in self._actions for name in action.option_strings]
        raise InputError(one_line(message, known)) from ex


def read_whole_numbers_first(parser: ArgumentParser) -> None:
    """Has options that take a number or a fraction read 1 as a number: `limit_val_batches=1` is one batch.

    Python keeps one object for all unions of int, float and None, in the order of whoever names it first, and
    jsonargparse tries them in that order: with a library that names float first, 1 would be all batches.

    Args:
        parser: the parser, with its options.
    """
    ordered = int | float | None  # such a union keeps its own order
    for action in parser._actions:
        if getattr(action, "_typehint", None) == ordered:
            action._typehint = ordered  # type: ignore[attr-defined]


def read_none_as_null() -> None:
    """Lets `null` through to options inside a class: jsonargparse hands it on as the word None."""
    load = get_loader("yaml")

    def load_none(text: str, **kwargs: Any) -> Any:
        return None if text == "None" else load(text, **kwargs)

    set_loader("yaml", load_none, (yaml.YAMLError,))


def write_choices_by_value() -> None:
    """Lets `config.yaml` hold options whose default is one of an `Enum` or a device.

    Those of Lightning's `Timer` and `StochasticWeightAveraging` are.
    """
    import torch

    register_type(torch.device)
    yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, choice: dumper.represent_data(choice.value))
