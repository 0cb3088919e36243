"""What `python -m kcm_lightning` says of itself: its commands, a line each."""

from kcm_lightning import __version__
from kcm_lightning.cli.configs import list_configs
from kcm_lightning.utils.console import PROGRAM
from kcm_lightning.utils.errors import InputError

WITH_CONFIG = {
    "fit": "train a judge and its student, or fine-tune a large model",
    "validate": "figures of a trained run on the validation split",
    "test": "table, curve and predictions of a trained run on the test split",
    "predict": "answers to the test split, or captions for a folder of images",
    "calibrate": "choose thresholds for an LM rate, or for a drop in quality",
}
OTHERS = {
    "report": "the paper's tables out of run folders, with means over seeds",
    "sweep": "run seeds times variants from one file; goes on where it was",
    "configs": "list the shipped configurations; `configs show NAME` prints one",
}


def overview() -> str:
    """The page of `--help`."""
    lines = [
        f"usage: {PROGRAM} COMMAND [options]",
        "",
        "Small and large models working together: KCM in PyTorch Lightning.",
        "",
        "With a configuration, --config FILE (your own, or the name of a shipped one):",
        *_lines(WITH_CONFIG),
        "",
        "Others:",
        *_lines(OTHERS),
        "",
        f"First steps:  {PROGRAM} configs",
        f"              {PROGRAM} fit --config quickstart_large.yaml",
        f"              {PROGRAM} fit --config quickstart.yaml",
        f"Options:      {PROGRAM} fit --help",
        f"  of a class: {PROGRAM} fit --model.help KCMModule",
        f"Version:      {PROGRAM} --version",
    ]
    return "\n".join(lines) + "\n"


def version() -> str:
    """The line of `--version`."""
    return f"kcm_lightning {__version__}\n"


def check_command(words: list[str]) -> None:
    """Refuses what is no command, and a command without the configuration that it needs.

    Raises:
        InputError: it is one; the message says what there is.
    """
    command = words[0]
    if command not in WITH_CONFIG | OTHERS:
        known = ", ".join(WITH_CONFIG | OTHERS)
        raise InputError(f"there is no command {command!r}; there are {known}")
    if command not in WITH_CONFIG or any(_is_enough(word) for word in words):
        return
    names = ", ".join(name for name, _ in list_configs())
    raise InputError(f"{command} needs a configuration: --config FILE, your own or one of {names}")


def _is_enough(word: str) -> bool:
    """Whether a word names a configuration, or a model in place of one, or asks for help."""
    name = word.split("=")[0]
    return (
        name in ("--config", "--model", "-h", "--print_config") or name.endswith("help") or name[:2] == "-c"
    )


def _lines(commands: dict[str, str]) -> list[str]:
    return [f"  {name:<10} {text}" for name, text in commands.items()]
