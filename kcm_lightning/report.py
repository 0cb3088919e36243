"""Run folders gathered into the paper's tables, its figures beside ours."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from kcm_lightning import paper
from kcm_lightning.errors import InputError
from kcm_lightning.metrics import paired_difference
from kcm_lightning.results import SCORES, TITLES, lm_rates, variants_table
from kcm_lightning.tables import csv_table, latex_table, markdown_table, spread

Figures = dict[str, Any]


Format = Literal["markdown", "csv", "latex"]


def report(folders: list[str], format: Format = "markdown", by: Literal["table", "variant"] = "table") -> str:
    """The paper's tables out of run folders, the mean and standard deviation over seeds where there are several.

    Args:
        folders: run folders, or folders that hold some at any depth.
        format: markdown, with data, large model, seeds and command of each table; or csv or latex, the tables alone.
        by: "table", the paper's tables; or "variant", one table with a row for each variant of a sweep, whose runs lie in
            `<variant>/<seed>`.

    Returns:
        The tables, one after the other.

    Raises:
        InputError: a folder holds no results.
    """
    if by == "variant":
        return _shown(*variants_table(_variants(folders)), format)
    tables: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    files = [file for file in _files(folders) if "groups" not in _json(file)]  # none of the paper's tables has those
    if not files:
        raise InputError("there are sequential trainings alone, which none of the paper's tables has: give --by variant")
    for figures in map(_read, files):
        variants = tables[_table_of(figures)]
        key = _variant(figures)
        while any(_same_cell(figures, other) for other in variants[key]):  # a seed counts once in a mean
            key += "'"
        variants[key].append(figures)
    parts = []
    for title in sorted(tables):
        for number, runs in enumerate(tables[title].values(), 1):
            head, rows = _maker(title)(runs)
            if format == "markdown":
                which = f", variant {number}" if len(tables[title]) > 1 else ""
                parts.append(f"## {title}{which}\n\n{markdown_table(head, rows)}\n{_sources(runs)}")
            else:
                parts.append(_shown(head, rows, format))
    return "\n".join(parts)


def _shown(head: list[str], rows: list[list[str]], format: Format) -> str:
    return {"markdown": markdown_table, "csv": csv_table, "latex": latex_table}[format](head, rows)


def _files(folders: list[str]) -> list[Path]:
    """Results files, each once, in the order of the folders."""
    found: dict[Path, Path] = {}
    for folder in folders:
        files = sorted(Path(folder).rglob("results.json"))
        if not files:
            raise InputError(f"{folder} holds no results.json: run `test` first, or name a run folder")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _variants(folders: list[str]) -> list[tuple[str, Figures]]:
    """Name of the variant and results of each run in `<variant>/<seed>`."""
    found: dict[tuple[str, int], Path] = {}
    runs = []
    for file in _files(folders):
        variant, figures = file.parent.parent.name, _json(file)
        earlier = found.setdefault((variant, figures["seed"]), file)
        if earlier != file:
            raise InputError(f"{earlier} and {file} are both of variant {variant}, seed {figures['seed']}: name one sweep")
        runs.append((variant, figures))
    return runs


def _json(file: Path) -> Figures:
    try:
        figures = json.loads(file.read_text())
        if not {"accuracy", "scores", "groups"}.intersection(figures):
            raise KeyError("accuracy, scores or groups")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no results file of this project: {error!r}") from error
    return figures


def _read(file: Path) -> Figures:
    figures = _json(file)
    try:
        (
            _options(figures, "model")["teacher"]["class_path"],
            figures["accuracy" if "accuracy" in figures else "scores"]["kcm"],
            figures["data"]["splits"]["test"]["sha256"],
        )
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise InputError(f"{file} is no results file of this project: {error!r}") from error
    return figures


def _last(path: str) -> str:
    return path.rsplit(".", 1)[-1]


def _options(figures: Figures, part: str) -> Figures:
    return figures["config"][part].get("init_args", {})


# what may differ between runs that are averaged or stand in one table
_NOT_A_VARIANT = {
    "thresholds",
    "temperatures",
    "cache",
    "judge_ckpt",
    "category",
    "root",
    "prepared",
    "answered",
    "predict_folder",
    "eval_batch_size",
    "compile",
}

_NOT_OF_THE_ANSWERS = {"answers", "budget", "concurrency", "fit_budget", "prices", "retries", "timeout", "api_key_env"}


def _variant(figures: Figures) -> str:
    """The options that tell apart runs which must not be averaged."""
    options = {part: figures["config"][part] for part in ("model", "data")}
    kept = {
        part: {name: value for name, value in choice.get("init_args", {}).items() if name not in _NOT_A_VARIANT}
        for part, choice in options.items()
    }
    teacher = kept["model"]["teacher"]
    asked = {name: value for name, value in teacher.get("init_args", {}).items() if name not in _NOT_OF_THE_ANSWERS}
    kept["model"]["teacher"] = {**teacher, "init_args": asked}
    return json.dumps(kept, sort_keys=True)


def _same_cell(one: Figures, other: Figures) -> bool:
    """Whether two runs are of the same data and seed, so that they are no independent samples of one figure."""
    return one["seed"] == other["seed"] and one["data"].get("title") == other["data"].get("title")


def _table_of(figures: Figures) -> str:
    teacher = _last(_options(figures, "model")["teacher"]["class_path"])
    if "scores" in figures:
        tokenizer = {"ptb": "PTB", "words": "word"}[figures["scoring"]]
        return f"{_COCO if figures['data']['name'] == 'coco' else 'Captions: ' + figures['data']['name']}, {tokenizer} tokenizer"
    if figures["data"]["name"] == "apd":
        return _BERT if teacher == "TextClassifier" else _CHAT
    if figures["data"]["name"] == "cifar100" and _last(figures["config"]["model"].get("class_path", "")) == "KCMTwoStage":
        return _MCM
    return _CIFAR if figures["data"]["name"] == "cifar100" else f"Other data: {figures['data']['name']}"


def _accuracy(runs: list[Figures], who: str, region: str = "overall") -> str:
    return spread(run["accuracy"].get(who, {}).get(region) for run in runs)


def _reviews(published: dict[str, tuple[float, float, float]], name: str) -> Callable:
    """Maker of tables 1 and 2: a row for each category, and their mean."""

    def make(runs: list[Figures]) -> tuple[list[str], list[list[str]]]:
        head = ["Category", "Small", "Student", name, "KCM", "LM rate", "KCM - large", f"paper: {name}", "KCM", "LM rate"]
        by_category = defaultdict(list)
        for run in runs:
            category = _options(run, "data")["category"]
            by_category[paper.CATEGORIES.get(category, category)].append(run)
        names = [shown for shown in paper.CATEGORIES.values() if shown in by_category]
        names += sorted(set(by_category) - set(names))
        rows = [[shown, *_row(by_category[shown]), *_said(published.get(shown))] for shown in names]
        six = [by_category[shown] for shown in paper.CATEGORIES.values() if shown in by_category]
        if len(six) == len(paper.CATEGORIES):
            said = [mean(column) for column in zip(*published.values(), strict=True)]
            rows.append(["mean", *_mean_row(six), *_said(said)])
        return head, rows

    return make


def _row(runs: list[Figures]) -> list[str]:
    rate = spread(run["lm_rate"]["called"] for run in runs)
    return [*(_accuracy(runs, who) for who in ("judge", "student", "teacher", "kcm")), rate, _difference([runs])]


def _mean_row(groups: list[list[Figures]]) -> list[str]:
    """The mean over categories of each figure's mean over seeds."""

    def over(pick: Callable[[Figures], float | None]) -> str:
        means = [[value for run in runs if (value := pick(run)) is not None] for runs in groups]
        return spread([mean(mean(values) for values in means)]) if all(means) else "-"

    shown = ("judge", "student", "teacher", "kcm")
    cells = [over(lambda run, who=who: run["accuracy"].get(who, {}).get("overall")) for who in shown]
    return [*cells, over(lambda run: run["lm_rate"]["called"]), _difference(groups)]


def _difference(groups: list[list[Figures]]) -> str:
    """KCM's accuracy minus the large model's: the mean over seeds, or of single runs with its paired bootstrap interval."""
    against = [[(run.get("kcm_against_teacher"), run["samples"]) for run in runs] for runs in groups]
    if any(counts is None for runs in against for counts, _ in runs):
        return "-"
    means = [mean((counts["better"] - counts["worse"]) / samples for counts, samples in runs) for runs in against]
    shown = f"{100 * mean(means):+.2f}"
    if any(len(runs) > 1 for runs in against):  # seeds share their test samples: no interval is made of them
        return shown
    found = paired_difference([(counts["better"], counts["worse"], samples) for ((counts, samples),) in against])
    return f"{shown} ({100 * found['low']:+.2f} to {100 * found['high']:+.2f})"


def _said(values: Iterable[float] | None, count: int = 3) -> list[str]:
    return ["-"] * count if values is None else [f"{value:.2f}" for value in values]


def _regions(published: dict[str, tuple[float, ...]], titles: Iterable[str]) -> Callable:
    """Maker of tables 3 and 5: a row for each region, overall and LM rate; one column for each model, and those published."""

    def make(runs: list[Figures]) -> tuple[list[str], list[list[str]]]:
        shown = [who for who in TITLES if all(who in run["accuracy"] for run in runs)]
        said = list(titles)
        regions = list(runs[0]["accuracy"]["kcm"])
        cells = {region: _said(published.get(region), len(said)) for region in [*regions, "LM rate"]}
        rows = [[region, *(_accuracy(runs, who, region) for who in shown), *cells[region]] for region in regions]
        called = spread(run["lm_rate"]["called"] for run in runs)
        rows.append(["LM rate", *lm_rates(shown, called), *cells["LM rate"]])
        return ["%", *(TITLES[who] for who in shown), *said], rows

    return make


def _captions(published: dict[str, tuple[float, ...]]) -> Callable:
    """Maker of table 4: a row for each score and the LM rate; one column for each model."""

    def make(runs: list[Figures]) -> tuple[list[str], list[list[str]]]:
        shown = [who for who in TITLES if all(who in run["scores"] for run in runs)]
        names = [name for name in SCORES if all(name in run["scores"]["kcm"] for run in runs)]
        rows = []
        for name in names:
            cells = [spread(run["scores"][who].get(name) for run in runs) for who in shown]
            rows.append([name, *cells, *_cells(published, name)])
        called = spread(run["lm_rate"]["called"] for run in runs)
        rows.append(["LM rate, %", *lm_rates(shown, called), *_cells(published, "LM rate")])
        return ["x 100", *(TITLES[who] for who in shown), *_PAPER_COLUMNS[: 3 if published else 0]], rows

    return make


_PAPER_COLUMNS = ["paper: small", "large", "KCM"]


def _cells(published: dict[str, tuple[float, ...]], region: str) -> list[str]:
    return _said(published.get(region)) if published else []


def _sources(runs: list[Figures]) -> str:
    """Data, large model, seed and command of each run that a table is made of."""
    lines = []
    for run in runs:
        data, teacher = run["data"], _options(run, "model")["teacher"]
        options = teacher.get("init_args", {})
        name = options.get("name") or options.get("model") or options.get("path") or ""
        splits = {split: facts for split, facts in data["splits"].items() if isinstance(facts, dict) and "samples" in facts}
        sizes = ", ".join(f"{split} {facts['samples']}" for split, facts in splits.items())
        lines.append(
            f"- {data.get('title', data['name'])} ({sizes}; test split {splits['test']['sha256']}); "
            f"{_last(teacher['class_path'])} {Path(name).name}; seed {run['seed']}; commit {run['commit']}; `{run['command']}`"
        )
    return "\n".join(lines) + "\n"


_BERT, _CHAT = "Table 1: reviews, fine-tuned BERT", "Table 2: reviews, chat model"
_CIFAR, _COCO, _MCM = "Table 3: CIFAR-100-LT", "Table 4: MSCOCO captions", "Table 5: MCM on CIFAR-100-LT"


def _maker(title: str) -> Callable[[list[Figures]], tuple[list[str], list[list[str]]]]:
    makers = {_BERT: _reviews(paper.BERT, "BERT"), _CHAT: _reviews(paper.CHAT, "ChatGPT")}
    makers |= {_CIFAR: _regions(paper.CIFAR_LT, _PAPER_COLUMNS), _MCM: _regions(paper.MCM, ["paper: MCM", "KCM"])}
    if title.startswith((_COCO, "Captions: ")):
        return _captions(paper.COCO if title.startswith(_COCO) else {})
    return makers.get(title) or _regions({}, [])
