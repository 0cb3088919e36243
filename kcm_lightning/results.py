"""What a run leaves behind: per-sample answers, figures, tables, all written atomically."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed
from rich.console import Console
from torch import Tensor
from torchmetrics.functional.classification import binary_calibration_error

from kcm_lightning.collaboration import Outcome
from kcm_lightning.gating import Route
from kcm_lightning.metrics import oracle_accuracy, paired_difference, random_accuracy, routing_curve
from kcm_lightning.seed import global_seed
from kcm_lightning.tables import markdown_table, percent, print_table

SMALL = ("judge", "student")


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON whole or not at all."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def gather(outcomes: list[Outcome], batches: list[dict]) -> dict[str, Tensor]:
    """The columns of all samples, across batches and processes, in the order of the samples' stable places.

    Args:
        outcomes: of each batch.
        batches: what goes with them: target, index, and any other column.

    Returns:
        One tensor a field of `Outcome`, and `target` and `index`, each with N rows, on the CPU.
    """
    columns = {name: torch.cat([getattr(o, name).cpu() for o in outcomes]) for name in Outcome.__dataclass_fields__}
    columns |= {name: torch.cat([b[name].cpu() for b in batches]) for name in batches[0]}
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts: list = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, columns)
        columns = {name: torch.cat([part[name] for part in parts]) for name in columns}
    order = columns["index"].argsort() if "index" in columns else slice(None)
    return {name: values[order] for name, values in columns.items()}


def summarise(columns: dict[str, Tensor], regions: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    """All figures of a test.

    Args:
        columns: as `gather` returns them.
        regions: region of each class, shape `(V,)`.
        names: of the regions.

    Returns:
        `samples`, `lm_rate` (fractions: called, answered), `routes` (counts) and `accuracy` by column and region
        (fractions). Where every model was asked about every sample: columns of each model alone, of a random and of an
        oracle router between student and large model at the same LM rate, the share (KCM - random) / (oracle - random), on how
        many samples KCM is right and the large model alone wrong and the other way round, with a paired bootstrap interval
        of the difference in accuracy, and each small model's expected calibration error.
    """
    target, called = columns["target"], columns["called"]
    in_region = {name: regions[target] == i for i, name in enumerate(names)}
    in_region["overall"] = torch.ones_like(called)

    def by_region(right: Tensor) -> dict[str, float | None]:
        return {name: _mean(right[rows]) for name, rows in in_region.items()}

    result: dict[str, Any] = {
        "samples": len(target),
        "lm_rate": {"called": _mean(called), "answered": _mean(columns["route"] == Route.TEACHER)},
        "routes": {r.name.lower(): int((columns["route"] == r).sum()) for r in Route},
        "accuracy": {"kcm": by_region(columns["prediction"] == target)},
    }
    asked = {"judge": "judge", "student": "student", "teacher": "alone"}
    right = {who: columns[f"{column}_prediction"] == target for who, column in asked.items()}
    result["accuracy"]["judge"] = by_region(right["judge"])
    compared = all((columns[f"{column}_prediction"] != -1).all() for column in asked.values())
    if not compared:
        return result
    rate = result["lm_rate"]["called"]
    for who in ("student", "teacher"):
        result["accuracy"][who] = by_region(right[who])
    for router, accuracy in (("random", random_accuracy), ("oracle", oracle_accuracy)):
        result["accuracy"][router] = {
            name: accuracy(rate, right["student"][rows], right["teacher"][rows]) if rows.any() else None
            for name, rows in in_region.items()
        }
    overall = {name: values["overall"] for name, values in result["accuracy"].items()}
    if overall["oracle"] > overall["random"]:
        share = (overall["kcm"] - overall["random"]) / (overall["oracle"] - overall["random"])
        result["share_of_oracle_gain"] = share
    better = int((columns["prediction"] == target)[~right["teacher"]].sum())
    worse = int((columns["prediction"] != target)[right["teacher"]].sum())
    result["kcm_against_teacher"] = {"better": better, "worse": worse} | paired_difference([(better, worse, len(target))])
    result["expected_calibration_error"] = {
        who: binary_calibration_error(columns[f"{who}_confidence"].float(), right[who].long(), n_bins=15).item() for who in SMALL
    }
    return result


def _mean(flags: Tensor) -> float | None:
    return flags.double().mean().item() if len(flags) else None


TITLES = {
    "judge": "Small (judge)",
    "student": "Student",
    "teacher": "Large",
    "kcm": "KCM",
    "random": "Random router",
    "oracle": "Oracle router",
}


def table_rows(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the paper's Table 3, in per cent."""
    shown = [who for who in TITLES if who in summary["accuracy"]]
    regions = list(summary["accuracy"]["kcm"])
    rows = [[region, *(percent(summary["accuracy"][who][region]) for who in shown)] for region in regions]
    rate = percent(summary["lm_rate"]["called"])
    rates = {"judge": "0.00", "student": "0.00", "teacher": "100.00"}
    rows.append(["LM rate", *(rates.get(who, rate) for who in shown)])
    return ["%", *(TITLES[who] for who in shown)], rows


def write_curve(path: Path, columns: dict[str, Tensor], summary: dict[str, Any]) -> None:
    """Draws accuracy against LM rate: of the student's confidence, a random router, the oracle, and KCM as it ran.

    Args:
        path: PNG file.
        columns: as `gather` returns them, with every model asked about every sample.
        summary: as `summarise` returns it.
    """
    from matplotlib.figure import Figure

    student, teacher = (columns[f"{who}_prediction"] == columns["target"] for who in ("student", "alone"))
    rates, accuracy = routing_curve(columns["student_confidence"], student, teacher)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(rates, 100 * accuracy, label="student's confidence")
    for name, router, style in (("random", random_accuracy, "--"), ("oracle", oracle_accuracy, ":")):
        axes.plot(rates, [100 * router(rate, student, teacher) for rate in rates.tolist()], style, label=f"{name} router")
    axes.plot(summary["lm_rate"]["called"], 100 * summary["accuracy"]["kcm"]["overall"], "ko", label="KCM")
    axes.set(xlabel="LM rate", ylabel="accuracy, %")
    axes.legend()
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    figure.savefig(partial, dpi=120)
    os.replace(partial, path)


class ResultsWriter(L.Callback):
    """Leaves `data.json` before any training, and after `test` `results.json`, `results.md`, `predictions.jsonl`, `curve.png`.

    Args:
        folder: the run folder, which exists.
        config: the resolved configuration, plain values only.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]):
        self.folder, self.config = Path(folder), dict(config)
        self.outcomes: list[Outcome] = []
        self.batches: list[dict] = []

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        if stage == "fit" and trainer.is_global_zero and not trainer.fast_dev_run:
            data = trainer.datamodule
            write_json(self.folder / "data.json", {"class_names": data.class_names, "splits": data.splits()})

    def on_test_batch_end(self, trainer, module, outputs: Outcome, batch: dict, *args) -> None:
        self.outcomes.append(outputs)
        self.batches.append({name: batch[name] for name in ("target", "index")})

    on_predict_batch_end = on_test_batch_end

    def _columns(self) -> dict[str, Tensor]:
        columns = gather(self.outcomes, self.batches)
        self.outcomes, self.batches = [], []
        return columns

    def on_test_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        columns = self._columns()
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        summary = None
        for scheme, regions in data.regions.items():
            figures = summarise(columns, regions, data.region_names[scheme])
            if summary is None:
                summary = figures
            else:  # the same answers, cut into other regions
                summary[f"accuracy_by_{scheme}"] = figures["accuracy"]
        result = summary | {
            "thresholds": asdict(module.thresholds),
            "temperatures": asdict(module.temperatures),
            "seed": global_seed(),
            "commit": _commit(),
            "command": " ".join(["python -m kcm_lightning", *sys.argv[1:]]),
            "versions": _versions(),
            "data": {"name": data.name, "title": data.title, "splits": data.fingerprint()},
            "config": self.config,
        }
        usage = module.teacher.usage()
        if usage:
            result["large_model"] = usage
        head, rows = table_rows(summary)
        print_table(head, rows, f"{data.title}, {summary['samples']} test samples")
        say_usage(usage)
        if trainer.fast_dev_run:
            return
        write_json(self.folder / "results.json", result)
        write_text(self.folder / "results.md", markdown_table(head, rows))
        write_text(self.folder / "predictions.jsonl", _lines(columns, data.class_names))
        if "oracle" in summary["accuracy"]:
            write_curve(self.folder / "curve.png", columns, summary)
        Console().print(
            f"results: {self.folder / 'results.json'}\nTensorBoard: tensorboard --logdir {self.folder}", soft_wrap=True
        )

    def on_predict_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        columns = self._columns()
        if trainer.is_global_zero and not trainer.fast_dev_run:
            path = self.folder / "predict.jsonl"
            write_text(path, _lines(columns, trainer.datamodule.class_names))
            Console().print(f"predictions: {path}", soft_wrap=True)
            say_usage(module.teacher.usage())


def say_usage(usage: dict) -> None:
    """Prints what asking the large model has cost, where that is known."""
    if usage:
        Console().print(f"large model: {_in_words(usage)}", soft_wrap=True)


def _in_words(usage: dict) -> str:
    usage = dict(usage)
    now = usage.pop("this_command", {})
    words = [f"{name.replace('_', ' ')} {value:.6g}" for name, value in usage.items()]
    return ", ".join(words) + (f"; in this command: {_in_words(now)}" if now else "")


def _lines(columns: dict[str, Tensor], class_names: list[str]) -> str:
    """One JSON line a sample; what was not asked is null."""
    plain = {name: values.tolist() for name, values in columns.items() if values.dim() == 1}
    lines = []
    for values in zip(*plain.values(), strict=True):
        row = dict(zip(plain, values, strict=True))
        row["route"] = Route(row["route"]).name.lower()
        row["label"] = class_names[row["prediction"]]
        for name, value in row.items():
            if value in (-1, -2) or value != value:
                row[name] = None
        lines.append(json.dumps(row))
    return "\n".join(lines) + "\n"


def _commit() -> str | None:
    """The commit of the code, marked where the working tree differs from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout.strip()


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "lightning", "torchmetrics", "transformers")}
