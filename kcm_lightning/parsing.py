"""What the command line understands, and how it says what it does not."""

from typing import NoReturn

import yaml
from jsonargparse import get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser

from kcm_lightning.errors import InputError
from kcm_lightning.run_folder import find_config


class OneLineParser(LightningArgumentParser):
    """Says what is wrong in one line, without the page of usage before it."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        raise InputError(one_line(message)) from ex


def one_line(message: str) -> str:
    """The reasons out of jsonargparse's nested account of every alternative that it tried."""
    noise = ("Does not validate", "Subtypes:", "Errors:", "Given value", "- Expected a <class 'NoneType'>", "Problem with given")
    lines = [line.strip() for line in message.splitlines()]
    reasons = [line.removeprefix("- ") for line in lines if not line.removeprefix("- ").startswith(noise) and line not in noise]
    keys = [line for line in reasons if line.startswith("Parser key")]
    reasons = [line for line in reasons if line not in keys] or lines
    where = " of ".join(key.split('"')[1] for key in reversed(keys))
    return (f"{where}: " if where else "") + "; ".join(reasons)


def find_configs(args: list[str]) -> list[str]:
    """The arguments with every configuration named by its path."""
    found = list(args)
    for i, arg in enumerate(args):
        if arg in ("--config", "-c") and i + 1 < len(args):
            found[i + 1] = _readable_config(args[i + 1])
        elif arg.startswith("--config="):
            found[i] = f"--config={_readable_config(arg.removeprefix('--config='))}"
    return found


def _readable_config(name: str) -> str:
    path = find_config(name)
    try:
        yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    return str(path)


def read_none_as_null() -> None:
    """Lets `null` through to options inside a class: jsonargparse hands it on as the word None."""
    load = get_loader("yaml")
    set_loader("yaml", lambda text, **kwargs: None if text == "None" else load(text, **kwargs), (yaml.YAMLError,))
