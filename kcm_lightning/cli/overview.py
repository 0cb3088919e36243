"""What `python -m kcm_lightning` says of itself: its commands, and the options of each."""

import difflib

from kcm_lightning import __version__
from kcm_lightning.utils.console import PROGRAM, wrapped
from kcm_lightning.utils.errors import InputError

WITH_CONFIG = {
    "fit": "train a judge and its student, or fine-tune a large model",
    "validate": "figures of a trained run on the validation split",
    "test": "table, curve and predictions of a trained run on the test split",
    "predict": "answers to your own inputs, --run RUN --input PATH; or to the test split",
    "calibrate": "choose thresholds for an LM rate, or for a drop in quality",
}
OTHERS = {
    "report": "the paper's tables out of run folders, with means over seeds",
    "cost": "what a tested run costs for each sample, and below which LM rate it pays",
    "monitor": "whether what a run answers is still as was promised and expected",
    "new": "look at your images or texts, and write a configuration and three commands",
    "import": "a chat model's own log of requests and replies as recorded answers",
    "sweep": "run seeds times variants from one file; goes on where it was",
    "configs": "list the shipped configurations; `configs show NAME` prints one",
}
_CHECKPOINT = "checkpoint; `best` (the default) and `last` are those of the run"
_OPTIONS = {
    "fit": {"--ckpt_path FILE": "resume: a checkpoint, or `last` for the run's newest"},
    "validate": {"--ckpt_path FILE": _CHECKPOINT},
    "test": {"--ckpt_path FILE": _CHECKPOINT},
    "predict": {
        "--run RUN --input PATH": (
            "in place of a configuration: answer a folder of images, a CSV, TSV, JSON lines or Parquet, a "
            ".txt with one text or path to a line, or - for standard input; goes on where it was stopped"
        ),
        "--output FILE": "of --input: JSON lines, CSV or Parquet (default in RUN/predictions)",
        "--calibrated FILE": "of --input: YAML of calibrate (default: the newest of the run)",
        "--column NAME ...": "of --input: columns of the text or path",
        "--batch_size N": "of --input: inputs that are answered at once (default 256)",
        "--device NAME": "of --input: cpu (the default), cuda, cuda:1",
        "--calls N": "call the large model at most N times, spread over all samples; --money X likewise",
        "--shadow X": "ask it about a random share of all samples too, for `monitor` (default 0)",
        "--ckpt_path FILE": _CHECKPOINT,
    },
    "calibrate": {
        "--target TARGET": (
            "lm_rate=X: call the large model for at most this share; cost=X, seconds=X (of 1,000 samples) or "
            "flops=X: for as much; accuracy=X: as seldom as this accuracy allows; accuracy_drop=X, for "
            "captions bleu_drop=X or cider_drop=X: as seldom as this loss allows (default lm_rate=0.6)"
        ),
        "--confidence X": "promise a quality: 0.95 keeps it on new data with 95 % (default: an estimate)",
        "--table true": "print what each LM rate would bring and cost",
        "--output FILE": "YAML to write (default calibrated-<target>.yaml in the run folder)",
        "--ckpt_path FILE": _CHECKPOINT,
    },
}
_OF_ALL = {
    "--config FILE": "your own, or the name of a shipped one; the later of two beats the earlier",
    "--run FOLDER": "run folder (default runs/<configuration>/<number>; fit makes it, others take the last)",
    "--seed_everything N": "seed of every random number (default 0)",
    "--model.OPTION VALUE": "of the model; `fit --model.help KCMModule` says all",
    "--data.OPTION VALUE": "of the data; `fit --data.help DigitsLT` says all",
    "--trainer.OPTION VALUE": "of Lightning's Trainer; `fit --trainer.help` says all",
    "--print_config": "print every option with its value, and do nothing",
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
        f"Options:      {PROGRAM} COMMAND --help",
        f"Version:      {PROGRAM} --version",
    ]
    return "\n".join(lines) + "\n"


def command_page(command: str) -> str:
    """The page of `COMMAND --help`, for a command that takes a configuration."""
    lines = [
        f"usage: {PROGRAM} {command} --config FILE [options]",
        "",
        f"{WITH_CONFIG[command][0].upper()}{WITH_CONFIG[command][1:]}.",
        "",
    ]
    for name, text in (_OPTIONS[command] | _OF_ALL).items():
        lines += [f"  {name}", *wrapped(text, indent=6)]
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
        known = [*WITH_CONFIG, *OTHERS]
        near = difflib.get_close_matches(command, known, n=1)
        which = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise InputError(f"there is no command {command!r}; {which}")
    if command not in WITH_CONFIG or any(_is_enough(word) for word in words):
        return
    raise InputError(
        f"{command} needs a configuration: --config FILE, your own or a shipped one, as quickstart.yaml or "
        "cifar_lt.yaml; `configs` lists them"
    )


def _is_enough(word: str) -> bool:
    """Whether a word names a configuration, or a model in place of one, or asks for help."""
    name = word.split("=")[0]
    enough = ("--config", "--model", "--input", "-h", "--print_config")
    return name in enough or name.endswith("help") or name[:2] == "-c"


def _lines(commands: dict[str, str]) -> list[str]:
    return [f"  {name:<10} {text}" for name, text in commands.items()]
