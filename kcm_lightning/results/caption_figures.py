"""Figures, tables and drawings of a test with captions."""

from pathlib import Path
from typing import Any

from kcm_lightning.core.routing import Route
from kcm_lightning.metrics.caption_scores import Tokenizer, score_tokenized, tokenize
from kcm_lightning.metrics.image_scores import (
    ImageScores,
    caption_curve,
    curve_half_widths,
    image_scores,
    random_mix,
    random_scores,
    score_difference,
)
from kcm_lightning.results.class_figures import ALONE, TITLES, curve_names, lm_rates, title_of
from kcm_lightning.results.columns import Columns
from kcm_lightning.results.curve import Curve, verdict, write_curves
from kcm_lightning.results.published import kcm_on
from kcm_lightning.utils.tables import percent

SCORES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "CIDEr", "ROUGE-L", "METEOR")
_PREFIXES = {who: f"{prefix}_" for who, prefix in ALONE.items()} | {"kcm": ""}


def summarize_captions(
    columns: Columns, references: list[list[str]], tokenizer: Tokenizer, compared: bool
) -> tuple[dict[str, Any], dict[str, ImageScores]]:
    """All figures of a test with captions.

    Args:
        columns: as `gather` returns them.
        references: captions that people gave each image.
        tokenizer: "ptb" with METEOR, or "words" without.
        compared: whether every model was asked about every image.

    Returns:
        `samples`, `lm_rate` (fractions: called, answered), `routes` (counts), `unanswered` (of how many
        images of a column the large model was asked and said nothing: an empty caption in its own column, the
        student's in KCM's), `scoring` and `scores` by column, on the scale of COCO's scorer. Where every
        model was asked about every image: columns of each model alone and of a random router between student
        and large model at the same LM rate, where captions are chosen between these two of that choice on
        every image and of KCM without it, KCM's difference to the large model alone with a paired bootstrap
        interval, the same to the random router, and `without_caption`, of how many images the large model
        said nothing, which counts as an empty caption. And what each image brings to the scores, by column.
    """
    prefixes = {
        who: prefix
        for who, prefix in _PREFIXES.items()
        if compared or not columns[f"{prefix}confidence"].isnan().any()
    }
    said = {
        who: [caption or "" for caption in columns[f"{prefix}prediction"]] for who, prefix in prefixes.items()
    }
    if compared and "fused_prediction" in columns:
        said |= _fused(columns)
    tokenized = tokenize(said, references, tokenizer)
    scores: dict[str, Any] = dict(score_tokenized(tokenized, meteor=tokenizer == "ptb"))
    images = {who: image_scores(own, tokenized.references) for who, own in tokenized.systems.items()}
    rate = columns["called"].double().mean().item()
    summary: dict[str, Any] = {
        "samples": len(references),
        "lm_rate": {"called": rate, "answered": (columns["route"] == Route.TEACHER).double().mean().item()},
        "routes": {r.name.lower(): int((columns["route"] == r).sum()) for r in Route},
        "unanswered": {"kcm": _unanswered(columns)},
        "scoring": tokenizer,
        "scores": scores,
    }
    if {"student", "teacher"} <= set(images):
        without = [caption is None for caption in columns["teacher_without_hint_prediction"]]
        summary["without_caption"] = summary["unanswered"]["teacher"] = sum(without)
        routed = images.get("both", images["teacher"])
        scores["random"] = random_scores(rate, images["student"], routed)
        summary["kcm_against_teacher"] = score_difference(images["kcm"], images["teacher"])
        chance = random_mix(rate, images["student"], routed)
        summary["kcm_against_random"] = score_difference(images["kcm"], chance)
    return summary, images


def _fused(columns: Columns) -> dict[str, list[str]]:
    """Captions chosen between student and large model for every image, and KCM's without that choice."""
    routed = (columns["route"] == Route.TEACHER).tolist()
    pairs = zip(columns["teacher_prediction"], columns["prediction"], routed, strict=True)
    alone = [large if called else own for large, own, called in pairs]
    return {
        "both": [caption or "" for caption in columns["fused_prediction"]],
        "unfused": [caption or "" for caption in alone],
    }


def _unanswered(columns: Columns) -> int:
    """Of how many images that were routed to it the large model said nothing."""
    said = columns["teacher_prediction"]
    return sum(caption is None for caption, called in zip(said, columns["called"], strict=True) if called)


def caption_rows(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the paper's Table 4; scores times 100."""
    shown = [who for who in TITLES if who in summary["scores"]]
    names = [name for name in SCORES if name in summary["scores"]["kcm"]]
    rows = [[name, *(percent(summary["scores"][who].get(name)) for who in shown)] for name in names]
    rows.append(["LM rate, %", *lm_rates(shown, percent(summary["lm_rate"]["called"]))])
    tokenizer = {"ptb": "PTB tokenizer", "words": "word tokenizer"}[summary["scoring"]]
    return [f"x 100, {tokenizer}", *(title_of(who, summary) for who in shown)], rows


def write_caption_curve(
    path: Path,
    columns: Columns,
    images: dict[str, ImageScores],
    summary: dict[str, Any],
    title: str,
    data_set: str = "",
) -> None:
    """Draws BLEU-4 and CIDEr against LM rate: KCM at every threshold, random router, and KCM as it ran.

    Args:
        path: PNG file; an SVG is written beside it.
        columns: as `gather` returns them.
        images: as `summarize_captions` returns them, with every model asked about every image.
        summary: as `summarize_captions` returns it.
        title: title of the figure.
        data_set: name of the data set, of which the paper may have a figure.
    """
    student, scores = images["student"], summary["scores"]
    routed = images.get("both", images["teacher"])
    curve = caption_curve(columns["gate_score"], student, routed)
    as_printed = caption_curve(columns["student_confidence"], student, images["teacher"])
    half_widths = curve_half_widths(columns["gate_score"], student, routed)
    by_chance = [random_scores(place / 20, student, routed) for place in range(21)]
    names = curve_names(columns)
    rate = summary["lm_rate"]["called"]
    curves = [
        Curve(
            measure=f"{name} x 100",
            unit="",
            rates=curve["LM rate"],
            values=curve[name],
            half_width=half_widths[name],
            name=" and ".join(names) or "by the student's confidence",
            as_printed=as_printed[name] if names else None,
            papers=kcm_on(data_set).get(name),
            routers={"random router": [one[name] for one in by_chance]},
            judge=scores["judge"][name],
            student=scores["student"][name],
            large=scores["teacher"][name],
            kcm=(rate, scores["kcm"][name]),
            verdict=verdict(summary["kcm_against_random"][name], f"{name} x 100"),
        )
        for name in ("BLEU-4", "CIDEr")
    ]
    write_curves(path, title, curves)
