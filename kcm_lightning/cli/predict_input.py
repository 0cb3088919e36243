"""`predict --run RUN --input PATH`: a run's answers to anything, from a folder, a file or a pipe."""

from pathlib import Path
from typing import Any

from kcm_lightning.api import Run, load
from kcm_lightning.cli.parser import OneLineErrors
from kcm_lightning.data.texts import TextDataModule
from kcm_lightning.predict import predict
from kcm_lightning.results.calibrated_file import NAME
from kcm_lightning.utils.console import PROGRAM, say
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import check_path
from kcm_lightning.utils.ranges import check_number


def run_predict_input(words: list[str]) -> int:
    """`predict --run RUN --input PATH`; returns the exit status."""
    parser = OneLineErrors(prog=f"{PROGRAM} predict", description="A run's answers to your own inputs.")
    parser.add_argument("--run", required=True, help="run folder")
    parser.add_argument(
        "--input",
        required=True,
        help="folder of images; CSV, TSV, JSON lines or Parquet; .txt with one text or path to a line; or -, "
        "the same on standard input",
    )
    parser.add_argument(
        "--output", help="JSON lines, CSV or Parquet (default: predictions/<input>.jsonl in the run folder)"
    )
    parser.add_argument("--calibrated", help="YAML of calibrate (default: the newest of the run, if any)")
    parser.add_argument(
        "--column",
        nargs="+",
        help="columns of the text, or of the path of an image (default: as in training, else text or path)",
    )
    parser.add_argument("--batch_size", type=int, default=256, help="inputs that are answered at once")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 and so on")
    options = parser.parse_args(words)
    check_number("--batch_size", options.batch_size, low=1)
    for name in ("run", "input", "output"):
        check_path(f"--{name}", options[name] or "")
    folder = Path(options.run)
    calibrated = Path(options.calibrated) if options.calibrated else _newest(folder)
    output = Path(options.output) if options.output else folder / "predictions" / _name_for(options.input)
    run = load(folder, calibrated=calibrated, device=options.device)
    say(f"thresholds: {calibrated or 'those of the run, which are not calibrated'}")
    counts = predict(
        run,
        options.input,
        output,
        asked={"run": str(folder.resolve()), "thresholds": vars(run.module.thresholds)},
        columns=options.column or _columns(run),
        batch_size=options.batch_size,
    )
    for line in _summary(run, counts, output):
        say(line)
    return 0


def _newest(folder: Path) -> Path | None:
    return folder / NAME if (folder / NAME).is_file() else None


def _name_for(given: str) -> str:
    stem = Path(given).resolve().stem if given != "-" else "standard_input"
    return f"{stem or 'answers'}.jsonl"


def _columns(run: Run) -> list[str]:
    """Columns of the run's own table, else what they are mostly called."""
    if isinstance(run.data, TextDataModule):
        return list(getattr(run.data, "text", ["text"]))
    return [getattr(run.data, "path", "path")]


def _summary(run: Run, counts: dict[str, Any], output: Path) -> list[str]:
    good = counts["rows"] - counts["bad"]
    if not good:
        raise InputError(f"none of the {counts['rows']:,} rows could be read; {output} says why")
    routes = ", ".join(f"{name} {count:,}" for name, count in counts["routes"].items())
    said = [
        f"answers: {output}",
        f"answered {good:,} rows ({routes}); LM rate {100 * counts['called'] / good:.2f} %",
    ]
    if currency := run.module.teacher.usage().get("currency"):
        said.append(f"cost: {counts['cost']:.4g} {currency}, what is from the store at its price then")
    if counts["bad"]:
        said.append(f"could not read {counts['bad']:,} rows: their `problem` in {output} says why")
    return said
