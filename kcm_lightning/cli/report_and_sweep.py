"""The commands that take a folder or a file: `report`, `cost`, `monitor` and `sweep`."""

import signal
import sys
from pathlib import Path
from typing import Literal

from kcm_lightning.cli.parser import OneLineErrors
from kcm_lightning.monitor import monitor
from kcm_lightning.report import cost_page, report
from kcm_lightning.sweep import commands, sweep
from kcm_lightning.utils.console import PROGRAM


def _parser(command: str, description: str) -> OneLineErrors:
    return OneLineErrors(prog=f"{PROGRAM} {command}", description=description)


def run_report(words: list[str]) -> int:
    """`report FOLDER ...`; returns the exit status."""
    parser = _parser(
        "report", "The paper's tables out of run folders, with mean and standard deviation over seeds."
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
    print(report(options.folders, options.format, options.by), end="")
    return 0


def run_cost(words: list[str]) -> int:
    """`cost FOLDER`; returns the exit status."""
    parser = _parser(
        "cost", "What a tested run costs for each sample and in total, and below which LM rate it pays."
    )
    parser.add_argument("folder", help="run folder, or one of its further tests")
    print(cost_page(Path(parser.parse_args(words).folder)), end="")
    return 0


def run_monitor(words: list[str]) -> int:
    """`monitor FOLDER`; returns the exit status, 1 where it is time to calibrate again."""
    parser = _parser("monitor", "Whether what a run answers is still as calibrate promised and expected.")
    parser.add_argument("folder", help="run folder")
    parser.add_argument("--calibrated", help="YAML of calibrate that was in use (default: the newest one)")
    parser.add_argument("--predictions", nargs="+", help="predict.jsonl files (default: all in the folder)")
    parser.add_argument("--labels", help="JSON lines with index and label of samples, that came later")
    options = parser.parse_args(words)
    said, calibrate_again = monitor(
        Path(options.folder),
        calibrated=Path(options.calibrated) if options.calibrated else None,
        predictions=[Path(file) for file in options.predictions or []],
        labels=Path(options.labels) if options.labels else None,
    )
    print("\n".join(said))
    return int(calibrate_again)


def run_sweep(words: list[str]) -> int:
    """`sweep FILE`; returns the exit status."""
    parser = _parser(
        "sweep", "Runs what a sweep's file says and is not done yet; a killed sweep goes on where it was."
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
