"""Options and classes that had another name at first: one line says the new one."""

from collections.abc import Iterator, Mapping
from typing import Any

from kcm_lightning.utils.errors import InputError

_PHASES = ("model.judge_phase", "model.student_phase", "model.phase", "model.training")
_BRITISH = "optimizer".replace("z", "s")
OPTIONS = {f"{phase}.{_BRITISH}": "optimizer" for phase in _PHASES}
OPTIONS |= {f"{phase}.drops": "lr_drops" for phase in _PHASES}
OPTIONS |= {"data.longest": "max_length", "data.bad_pictures": "bad_images"}
CLASSES = {
    "kcm_lightning.finetune.FineTuneImageClassifier": "kcm_lightning.module.FineTuneImageClassifier",
    "kcm_lightning.finetune.FineTuneTextClassifier": "kcm_lightning.module.FineTuneTextClassifier",
    "kcm_lightning.module.captions.KCMCaptions": "kcm_lightning.module.KCMCaptions",
}


def check_names(config: Any, where: str) -> None:
    """Refuses a configuration with old names.

    Args:
        config: as YAML gives it.
        where: the file, for the error.

    Raises:
        InputError: a name is old; the message has the new one.
    """
    for option, value in _options(config, ""):
        _check(option, value, where)


def check_words(words: list[str]) -> None:
    """Refuses a command line with old names.

    Args:
        words: those of a command.

    Raises:
        InputError: a name is old; the message has the new one.
    """
    for word in words:
        option, _, value = word.partition("=")
        option = option.removeprefix("--").replace(".init_args.", ".")
        _check(option, value or word, "the command line")


def _options(tree: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Dotted names of all options, as the command line writes them, and their values."""
    yield name, tree
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            inner = name if key in ("init_args", "class_path") else f"{name}.{key}".removeprefix(".")
            yield from _options(value, inner)


def _check(option: str, value: Any, where: str) -> None:
    if option in OPTIONS:
        new = f"{option.rpartition('.')[0]}.{OPTIONS[option]}"
        raise InputError(f"{where}: the option {option} is now called {new}")
    if isinstance(value, str) and value in CLASSES:
        raise InputError(f"{where}: the class {value} is now called {CLASSES[value]}")
