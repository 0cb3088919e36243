"""Where a configuration is found."""

import difflib
import itertools
import re
from pathlib import Path
from typing import Any

from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.plain_files import read_json, read_yaml
from kcm_lightning.utils.renamed_options import check_names


def shipped_configs() -> Path:
    """Folder of the configurations that come with the project, installed or beside the sources."""
    package = Path(__file__).parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def list_configs() -> list[tuple[str, str]]:
    """Name of each shipped configuration, and what it is for: the first sentence of its comment."""
    return [(path.name, _first_sentence(path)) for path in sorted(shipped_configs().glob("*.yaml"))]


def _first_sentence(path: Path) -> str:
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        words += line[2:].split()
        if line.endswith((".", ":")):
            break
    return re.split(r"(?<=[.])\s", " ".join(words))[0].rstrip(".:")


def find_config(name: str) -> Path:
    """A configuration file by path, or by its bare name among the shipped ones.

    Raises:
        InputError: there is none; the message offers the nearest names.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_configs() / name
    if len(Path(name).parts) == 1 and shipped.is_file():
        return shipped
    names = sorted(path.name for path in shipped_configs().glob("*.yaml"))
    near = ", ".join(difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names)
    raise InputError(
        f"there is no configuration {name!r}, here or among the shipped ones; did you mean {near}?"
    )


def find_configs(words: list[str]) -> list[str]:
    """The words of a command with every configuration named by its path, and before every other option.

    So an option on the command line beats the configuration wherever it stands.

    Raises:
        InputError: a configuration is missing.
    """
    configs, others, rest = [], [], iter(words)
    for word in rest:
        name, value = _name_and_value(word)
        if name not in ("--config", "-c"):
            others.append(word)
        elif value or (value := next(rest, "")):
            configs += ["--config", str(find_config(value))]
        else:
            others.append(word)  # the parser says that its value is missing
    command = others[:1] if others and not others[0].startswith("-") else []
    return [*command, *configs, *others[len(command) :]]


def _name_and_value(word: str) -> tuple[str, str]:
    """An option and the value that is written with it, as in `--config=FILE`, `-c=FILE` and `-cFILE`."""
    if word.startswith("-c") and len(word) > 2:
        return "-c", word[2:].removeprefix("=")
    name, _, value = word.partition("=")
    return name, value


def check_configs(words: list[str]) -> None:
    """Reads every configuration of a command.

    Args:
        words: as `find_configs` returns them.

    Raises:
        InputError: one is no YAML, has an option that is now called otherwise, or is `calibrate`'s and holds
            more than that writes.
    """
    for option, name in itertools.pairwise(words):
        if option == "--config":
            _check(Path(name))


def _check(path: Path) -> None:
    if _is_calibrated(path):  # holds numbers alone: no class that it names may be imported
        from kcm_lightning.results.calibrated_file import read_calibrated

        read_calibrated(path)
    options = read_yaml(path)
    check_names(options, str(path))
    if option := _with_nul(options):
        raise InputError(f"{path}: {option} holds the character NUL, which no path and no text may have")


def _with_nul(tree: Any, name: str = "") -> str | None:
    """The first option whose text holds the character NUL."""
    if isinstance(tree, dict):
        inner = [(value, f"{name}.{key}" if name else str(key)) for key, value in tree.items()]
    elif isinstance(tree, list):
        inner = [(value, name) for value in tree]
    else:
        return name if isinstance(tree, str) and "\0" in tree else None
    return next((found for value, place in inner if (found := _with_nul(value, place))), None)


def _is_calibrated(path: Path) -> bool:
    """Whether a file is one of `calibrate`'s: by its name, its first line, or the JSON beside it."""
    if path.stem.startswith("calibrated"):
        return True
    with path.open("rb") as file:
        first = file.readline(200).decode(errors="replace")
    return bool(re.match(r"# \S+=\S+, chosen on [\d,]+ samples", first)) or _has_thresholds(path)


def _has_thresholds(path: Path) -> bool:
    try:
        beside = read_json(path.with_suffix(".json"))
    except InputError:  # none, or none that can be read
        return False
    return isinstance(beside, dict) and {"target", "thresholds"} <= beside.keys()
