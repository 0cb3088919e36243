"""The commands: `python -m kcm_lightning COMMAND --config ...`, `report FOLDER ...` and `sweep FILE`."""

import errno
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Literal

from lightning import LightningDataModule, LightningModule
from lightning.pytorch.utilities.exceptions import SIGTERMException

from kcm_lightning.calibrate import KCMTrainer
from kcm_lightning.cli.configs import find_configs
from kcm_lightning.cli.kcm_cli import KCMCLI, SaveFitConfig
from kcm_lightning.cli.parser import OneLineParser, read_none_as_null, write_choices_by_value
from kcm_lightning.cli.process_settings import keep_freed_memory, silence_noise
from kcm_lightning.report import report
from kcm_lightning.sweep import commands, sweep
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.renamed_options import check_words
from kcm_lightning.utils.signals import StopSignal, stopped_by_signals


def _report(words: list[str]) -> str:
    parser = OneLineParser(
        prog="python -m kcm_lightning report",
        description="The paper's tables out of run folders, with mean and standard deviation over seeds.",
    )
    parser.add_argument("folders", nargs="+", help="run folders, or folders that hold some at any depth")
    parser.add_argument(
        "--format",
        type=Literal["markdown", "csv", "latex"],
        default="markdown",
        help="markdown with the sources of each table; csv or latex, the tables alone",
    )
    parser.add_argument(
        "--by",
        type=Literal["table", "variant"],
        default="table",
        help="table: the paper's tables; variant: one table with a row for each variant of a sweep",
    )
    options = parser.parse_args(words)
    return report(options.folders, options.format, options.by)


def _sweep(words: list[str]) -> int:
    parser = OneLineParser(
        prog="python -m kcm_lightning sweep",
        description="Runs what a sweep's file says and is not done yet; a killed sweep goes on where it was.",
    )
    parser.add_argument("file", help="YAML of the sweep")
    parser.add_argument(
        "--cell", type=int | None, help="run this cell alone, counted from 0, and those that it needs"
    )
    parser.add_argument(
        "--list", action="store_true", help="print each cell's commands as one line, and run nothing"
    )
    options = parser.parse_args(words)
    if options.list:
        print(commands(Path(options.file)), end="")
        return 0
    try:
        return int(sweep(Path(options.file), options.cell) > 0)
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        return 128 + signal.SIGINT


def main(args: list[str] | None = None) -> None:
    """Runs a command.

    Args:
        args: the words after the program's name; None for those of the process.
    """
    keep_freed_memory()
    silence_noise()
    read_none_as_null()
    write_choices_by_value()
    given = sys.argv[1:] if args is None else args
    with stopped_by_signals() as stop:
        status = _status_of(given, stop)
    if status:
        sys.exit(status)


def _status_of(given: list[str], stop: StopSignal) -> int:
    """Runs a command and returns its exit status; says in a line why it is no success."""
    try:
        status = _run(given)
        return status if stop.number is None else stop.status
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        if stop.number is None:
            return 2
    except SIGTERMException:  # of itself it would end as a success
        stop.number = stop.number or signal.SIGTERM
    except BaseException as error:
        if stop.number is None and (reason := _no_room(error)):
            print(f"error: {reason}: make room. To go on: {_to_go_on(given)}", file=sys.stderr)
            return 2
        if stop.number is None:
            raise
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{stop}: what was done is kept. To go on: {_to_go_on(given)}", file=sys.stderr)
    return stop.status


def _run(given: list[str]) -> int:
    words = find_configs(given)
    check_words(words)
    if words[:1] == ["report"]:
        print(_report(words[1:]), end="")
        return 0
    if words[:1] == ["sweep"]:
        return _sweep(words[1:])
    sys.argv[1:] = words
    KCMCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        trainer_class=KCMTrainer,
        parser_class=OneLineParser,
        trainer_defaults={"use_distributed_sampler": False, "reload_dataloaders_every_n_epochs": 1},
        save_config_callback=SaveFitConfig,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=0,
        auto_configure_optimizers=False,
    )
    return 0


def _no_room(error: BaseException | None) -> str | None:
    """What cannot be written since the disk is full, where an error comes of that."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"{error.filename or 'a file'} cannot be written ({error.strerror})"
        error = error.__cause__ or error.__context__
    return None


def _to_go_on(given: list[str]) -> str:
    """The command that goes on where a command was stopped."""
    words = list(given)
    folder = Path(os.environ.get("KCM_RUN_FOLDER", ""))  # where a fresh `fit` writes
    fresh = words[:1] == ["fit"] and not any(word.startswith("--ckpt_path") for word in words)
    if fresh and (folder / "checkpoints" / "last.ckpt").is_file():
        words += ["--run", str(folder), "--ckpt_path", "last"]
    return shlex.join(["python", "-m", "kcm_lightning", *words])
