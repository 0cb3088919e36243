"""What a run with captions leaves behind: Table 4, and of `predict` a page that people can look at."""

import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn

from kcm_lightning.core.routing import Route
from kcm_lightning.data.base import CaptionDataModule, KCMDataModule
from kcm_lightning.results.caption_figures import caption_rows, summarize_captions, write_caption_curve
from kcm_lightning.results.caption_page import caption_page
from kcm_lightning.results.columns import Columns
from kcm_lightning.results.writer import ResultsWriter, RunResults
from kcm_lightning.utils.console import say
from kcm_lightning.utils.files import write_text
from kcm_lightning.utils.image_io import shown

_MODELS = ("judge", "student", "teacher")


class CaptionResultsWriter(ResultsWriter):
    """A `ResultsWriter` for captions; `predict` leaves `predict.jsonl` and `predict.html`.

    Args:
        folder: the run folder, which exists.
        config: the resolved configuration, plain values only.
        not_done: what the run's `fit` has not done of what was planned, a sentence each.
        configs: configuration files of the command, of which one may be `calibrate`'s.
    """

    columns = ("large", "index")

    def _results_of(self, columns: Columns, data: KCMDataModule, module: Any) -> RunResults:
        assert isinstance(data, CaptionDataModule)
        references = data.references(columns["index"])
        summary, images = summarize_captions(columns, references, module.scoring, module.compare)
        if without := summary.get("without_caption"):
            rank_zero_warn(
                f"the large model said nothing of {without} images: these count as empty captions in its "
                "column"
            )
        rows = [row | {"references": own} for row, own in zip(_rows(columns, None), references, strict=True)]
        return RunResults(
            summary=summary,
            table=caption_rows(summary),
            lines=_as_lines(rows),
            draw=(lambda path, title: write_caption_curve(path, columns, images, summary, title, data.name))
            if "random" in summary["scores"]
            else None,
        )

    def _leave_predictions(self, folder: Path, columns: Columns, data: KCMDataModule) -> None:
        assert isinstance(data, CaptionDataModule)
        rows = _rows(columns, data.predict_folder)
        unreadable = [(_name(path, data.predict_folder), why) for path, why in data.unreadable.items()]
        bad = [{"filename": name, "error": "cannot be read"} for name, _ in unreadable]
        order = sorted(range(len(rows)), key=lambda row: rows[row]["filename"])
        path = folder / "predict.jsonl"
        write_text(path, _as_lines([rows[row] for row in order] + bad))
        page = path.with_suffix(".html")
        images = [(Path(columns["large"][row]), rows[row]) for row in order]
        write_text(page, caption_page(images, unreadable))
        for name, why in unreadable:
            say(f"{name} cannot be read: {why}")
        say(f"{len(rows)} captions: {path}\nto look at: {page}")


def _name(path: str | Path, folder: str | None) -> str:
    """An image's name: within the folder that was asked about, else of the file alone."""
    return shown(Path(path).relative_to(folder)) if folder else Path(path).name


def _rows(columns: Columns, folder: str | None) -> list[dict[str, Any]]:
    """One dictionary an image; what was not asked is null."""
    plain = {
        name: values.tolist() if isinstance(values, torch.Tensor) else values
        for name, values in columns.items()
    }
    rows = []
    for i, path in enumerate(plain["large"]):
        row = {
            "filename": _name(path, folder),
            "caption": plain["prediction"][i],
            "route": Route(plain["route"][i]).name.lower(),
            "confidence": plain["confidence"][i],
            "index": plain["index"][i],
        }
        for who in _MODELS:
            row |= {
                f"{who}_caption": plain[f"{who}_prediction"][i],
                f"{who}_confidence": plain[f"{who}_confidence"][i],
            }
        rows.append({name: None if value != value else value for name, value in row.items()})
    return rows


def _as_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
