"""What `test` and `calibrate` leave for TensorBoard, and the command that shows a run under its name."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kcm_lightning.results.calibrated_file import expected_in_words
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.tables import markdown_table

_PREFIX = "events.out.tfevents."


def tensorboard_command(run: Path) -> str:
    """The command that shows a run as `<configuration>/<number>`, beside others, or by its folder's name.

    Args:
        run: the run folder, or another one with event files.

    >>> tensorboard_command(Path("runs/quickstart/0"))
    'tensorboard --logdir runs'
    >>> tensorboard_command(Path("mine/try1"))
    'tensorboard --logdir_spec try1:mine/try1'
    """
    if run.name.isdigit() and len(run.parts) > 2:
        return f"tensorboard --logdir {shlex.quote(str(run.parent.parent))}"
    if {":", ","} & set(str(run)):  # which part names from folders
        return f"tensorboard --logdir {shlex.quote(str(run.parent))}"
    name = "/".join(run.parts[-2:]) if run.name.isdigit() else run.resolve().name
    return f"tensorboard --logdir_spec {shlex.quote(f'{name}:{run}')}"


def leave_for_tensorboard(
    folder: Path,
    of: str,
    *,
    scalars: Mapping[str, float],
    texts: Mapping[str, str],
    images: Mapping[str, Path] | None = None,
) -> None:
    """Writes an event file, in place of the one that the same command has left before.

    Args:
        folder: where the results are, which exists.
        of: what the figures are of, "test" for instance: tells the file from others, such as those of `fit`.
        scalars: figures by tag.
        texts: Markdown by tag.
        images: PNG files by tag; those that are not there are left out.

    Raises:
        InputError: the place is full or cannot be written to.
    """
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter

    suffix = f".{of}"
    try:
        before = [path for path in folder.glob(f"{_PREFIX}*") if path.name.endswith(suffix)]
        with SummaryWriter(str(folder), filename_suffix=suffix) as writer:
            for tag, value in scalars.items():
                writer.add_scalar(tag, value)
            for tag, text in texts.items():
                writer.add_text(tag, text)
            for tag, path in (images or {}).items():
                if path.is_file():
                    pixels = np.asarray(Image.open(path).convert("RGB"))
                    writer.add_image(tag, pixels, dataformats="HWC")
        for path in before:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be written to: {error.strerror or error}") from error


def figures_of_test(found: Mapping[str, Any]) -> dict[str, float]:
    """Figures of a test by tag, under the names that `fit` gives those of the validation split.

    Args:
        found: what `results.json` holds.
    """
    return {tag: float(value) for tag, value in _test(found) if value is not None}


def _test(found: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for columns in (found.get("accuracy", {}), found.get("scores", {})):
        for who, figures in columns.items():
            shown = ["overall"] if who in ("random", "oracle") and "overall" in figures else figures
            yield from ((f"test/{who}_{name}", figures[name]) for name in shown)
    yield from ((f"test/lm_rate_{kind}", value) for kind, value in found.get("lm_rate", {}).items())
    for who, value in found.get("expected_calibration_error", {}).items():
        yield f"test/{who}_calibration_error", value
    for other in ("teacher", "random"):
        against = found.get(f"kcm_against_{other}", {})
        measures = {"overall": against} if "difference" in against else against
        for name, interval in measures.items():
            yield f"test/kcm_minus_{other}_{name}", interval.get("difference")
    yield "test/cost_per_1000_samples", found.get("large_model", {}).get("money_per_1000_samples")
    for kind in ("all_classes", "own_classes"):  # of sequential training
        for name in ("forgetting", "backward_transfer"):
            yield f"test/{kind}/{name}", found.get(kind, {}).get(name)
    for region, value in found.get("final_accuracy", {}).items():
        yield f"test/{region}", value


def figures_of_calibration(report: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Scalars by tag, and as a text what was chosen and what is expected of it.

    Args:
        report: what `calibrate` has found: `target`, `samples`, `thresholds`, `temperatures` and
            `expected_on_unseen_data`.
    """
    of = f"calibrate/{report['target']}"
    thresholds = {who: report["thresholds"][who] for who in ("judge", "student")}  # calibrate chooses these
    closed = "none: the gate is closed"
    rows = [
        [f"threshold of the {who}", closed if value is None else f"{value:.4f}", ""]
        for who, value in thresholds.items()
    ]
    rows += [
        [f"temperature of the {who}".replace("teacher", "large model"), f"{value:.4f}", ""]
        for who, value in report["temperatures"].items()
    ]
    for name in ("fusion", "gate"):
        weights = report.get(name)
        for who, value in weights.items() if isinstance(weights, Mapping) else ():
            rows.append(
                [f"{name}: {who.replace('_', ' ').replace('teacher', 'large model')}", f"{value:.4f}", ""]
            )
    scalars = {
        f"{of}/threshold_{who}": float(value) for who, value in thresholds.items() if value is not None
    }
    for name, figures in report["expected_on_unseen_data"].items():
        low, mean, high = (float(figures[end]) for end in ("low", "mean", "high"))
        scalars |= {f"{of}/{name}": mean, f"{of}/{name}_low": low, f"{of}/{name}_high": high}
        rows.append([f"expected {expected_in_words(name)}", f"{mean:.4f}", f"{low:.4f} to {high:.4f}"])
    title = f"# {report['target']}, chosen on {report['samples']:,} validation samples"
    return scalars, {of: f"{title}\n\n{markdown_table(['', 'value', '95 % interval'], rows)}"}
