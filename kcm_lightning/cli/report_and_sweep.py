"""The commands that take a folder or a file: `report`, `cost`, `monitor`, `import` and `sweep`."""

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Literal

from kcm_lightning.cli.configs import find_config
from kcm_lightning.cli.parser import OneLineErrors
from kcm_lightning.large.api_log import Imported, import_log
from kcm_lightning.monitor import monitor
from kcm_lightning.new import Wanted, new
from kcm_lightning.report import cost_page, report
from kcm_lightning.sweep import commands, sweep
from kcm_lightning.utils.console import PROGRAM
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import write_text


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


def run_new(words: list[str]) -> int:
    """`new --images FOLDER|--texts FILE --large NAME`; returns the exit status."""
    parser = _parser("new", "Looks at your data and a large model, and writes a configuration.")
    parser.add_argument("--images", help="folder with train/CLASS/IMAGE or CLASS/IMAGE, or a table of paths")
    parser.add_argument("--texts", help="table of texts: CSV, TSV, JSON lines or Parquet")
    parser.add_argument("--text", nargs="+", default=["text"], help="columns of the text (default: text)")
    parser.add_argument("--label", default="label", help="column of the class (default: label)")
    parser.add_argument(
        "--large",
        required=True,
        help="hub name or folder of a Hugging Face model, chat:NAME, or a file of recorded answers",
    )
    parser.add_argument("--labels", type=dict[str, str] | None, help="your class names by the large model's")
    parser.add_argument("--server", help="address of a chat model's server (default: OpenAI's)")
    parser.add_argument("--tokenizer", help="of the small model (default: the large model's, else BERT's)")
    parser.add_argument("--encoder", help="a frozen encoder for the small model: EncoderWithHead")
    parser.add_argument("--output", default="my_problem.yaml", help="configuration to write")
    options = parser.parse_args(words)
    if (options.images is None) == (options.texts is None):
        raise InputError("new needs either --images FOLDER or --texts FILE")
    kind: Literal["images", "texts"] = "texts" if options.images is None else "images"
    wanted = Wanted(
        kind=kind,
        source=options.images or options.texts,
        large=options.large,
        output=Path(options.output),
        text=options.text,
        label=options.label,
        labels=options.labels,
        server=options.server,
        tokenizer=options.tokenizer,
        encoder=options.encoder,
    )
    template = find_config(f"own_{kind}.yaml").read_text(encoding="utf-8")
    print("\n".join(new(wanted, template)))
    return 0


def run_import(words: list[str]) -> int:
    """`import LOG ...`; returns the exit status."""
    parser = _parser(
        "import",
        "The calls of a chat model that were already paid for, as recorded answers and texts to distill on.",
    )
    parser.add_argument(
        "logs", nargs="+", help="JSON lines of requests and replies, in one file or, by custom_id, in two"
    )
    parser.add_argument("--output", default="recorded_answers.jsonl", help="JSON lines to write")
    parser.add_argument(
        "--prompt",
        help="what was asked, with {text} where the text stood (default: without what all questions share)",
    )
    parser.add_argument("--labels", nargs="+", default=[], help="the classes (default: what the replies say)")
    options = parser.parse_args(words)
    output = Path(options.output)
    if output.exists():
        raise InputError(f"--output: {output} is there already: name another, or remove it")
    found = import_log([Path(log) for log in options.logs], options.prompt, options.labels)
    rows = (
        {"text": text, "answer": answer} | ({} if sure is None else {"confidence": sure})
        for text, (answer, sure) in found.answers.items()
    )
    write_text(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    for line in _of_import(found, output):
        print(line)
    return 0


def _of_import(found: Imported, output: Path) -> list[str]:
    begin, end = (repr(part[-60:] if place == 0 else part[:60]) for place, part in enumerate(found.frame))
    counts = Counter(answer for answer, _ in found.answers.values())
    said = [f"{len(found.answers):,} texts with their answers: {output}"]
    said.append("classes: " + ", ".join(f"{name} {counts[name]:,}" for name in found.class_names))
    said.append(f"left out of each question: what ends in {begin} before the text, {end} after it")
    said += [f"not used: {count:,} {reason}" for reason, count in found.skipped.items()]
    return [
        *said,
        "use it as the large model: --model.teacher kcm_lightning.large.Recorded --model.teacher.path "
        f"{output}",
        f"and as texts to distill on: --data.unlabelled_path {output} --data.distill_split both",
    ]


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
