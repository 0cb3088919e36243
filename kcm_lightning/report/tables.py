"""The paper's tables: which one a run belongs to, and how it is made of several runs."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from statistics import mean
from typing import Any

from kcm_lightning.data.reviews import CATEGORIES
from kcm_lightning.metrics import paired_difference
from kcm_lightning.results import SCORES, TITLES, lm_rates
from kcm_lightning.results import published as paper
from kcm_lightning.results.comparable import last, options
from kcm_lightning.results.results_file import Figures
from kcm_lightning.utils.tables import spread

_BERT, _CHAT = "Table 1: reviews, fine-tuned BERT", "Table 2: reviews, chat model"
_OTHER_REVIEWS = "Reviews: "
_CIFAR, _COCO, _MCM = "Table 3: CIFAR-100-LT", "Table 4: MSCOCO captions", "Table 5: MCM on CIFAR-100-LT"
_OF_FUSION = {who: TITLES[who] for who in ("both", "unfused")}
_PAPER_COLUMNS = ["paper: small", "large", "KCM"]


def table_of(figures: Figures) -> str:
    """Title of the table that a run belongs to."""
    teacher = last(options(figures, "model")["teacher"]["class_path"])
    if "scores" in figures:
        tokenizer = {"ptb": "PTB", "words": "word"}[figures["scoring"]]
        title = _COCO if figures["data"]["name"] == "coco" else f"Captions: {figures['data']['name']}"
        return f"{title}, {tokenizer} tokenizer"
    if figures["data"]["name"] == "apd":
        known = {"TextClassifier": _BERT, "Chat": _CHAT, "Recorded": _CHAT}
        return known.get(teacher, f"{_OTHER_REVIEWS}{teacher}")
    module = last(figures["config"]["model"].get("class_path", ""))
    if figures["data"]["name"] == "cifar100" and module == "KCMTwoStage":
        return _MCM
    return _CIFAR if figures["data"]["name"] == "cifar100" else f"Classification: {figures['data']['name']}"


def maker_of(title: str) -> Callable[[list[Figures]], tuple[list[str], list[list[str]]]]:
    """What makes head and rows of the table with a title out of its runs."""
    makers = {_BERT: _reviews(paper.BERT, "BERT"), _CHAT: _reviews(paper.CHAT, "ChatGPT")}
    makers |= {
        _CIFAR: _regions(paper.CIFAR_LT, _PAPER_COLUMNS),
        _MCM: _regions(paper.MCM, ["paper: MCM", "KCM"]),
    }
    if title.startswith(_COCO):
        return _captions(paper.COCO, _PAPER_COLUMNS)
    if title.startswith("Captions: "):
        return _captions({}, [])
    if title.startswith(_OTHER_REVIEWS):
        return _reviews({}, "Large")
    return makers.get(title) or _regions({}, [])


def _accuracy(runs: list[Figures], who: str, region: str = "overall") -> str:
    return _mean(run["accuracy"].get(who, {}).get(region) for run in runs)


def _mean(values: Iterable[float | None]) -> str:
    """Mean and standard deviation; a dash where a run lacks the value: the mean would be of fewer runs."""
    known = list(values)
    return "-" if None in known else spread(known)


def _titled(who: str, title: str, runs: list[Figures]) -> str:
    """Title of a column, with how many samples the large model gave no answer to."""
    unanswered = sum(run.get("unanswered", {}).get(who, 0) for run in runs)
    total = sum(run["samples"] for run in runs)
    return f"{title}, {unanswered} of {total} unanswered" if unanswered else title


def _reviews(published: dict[str, tuple[float, float, float]], name: str) -> Callable:
    """Maker of tables 1 and 2: a row for each category, and their mean; the paper's columns, if any."""

    def make(runs: list[Figures]) -> tuple[list[str], list[list[str]]]:
        titles = [f"paper: {name}", "KCM", "LM rate"] if published else []
        shown = _shown_of_reviews(runs)
        named = {"judge": "Small", "student": "Student", "teacher": name} | _OF_FUSION
        models = [_titled(who, named.get(who, "KCM"), runs) for who in shown]
        head = ["Category", *models, "LM rate", "KCM - large", *titles]
        by_category: dict[str, list[Figures]] = defaultdict(list)
        for run in runs:
            category = str(options(run, "data").get("category") or run["data"]["name"])
            by_category[CATEGORIES.get(category, category)].append(run)
        names = [own for own in CATEGORIES.values() if own in by_category]
        names += sorted(set(by_category) - set(names))
        rows = [
            [own, *_row(by_category[own], shown), *_said(published.get(own), len(titles))] for own in names
        ]
        six = [by_category[own] for own in CATEGORIES.values() if own in by_category]
        if len(six) == len(CATEGORIES):
            said = [mean(column) for column in zip(*published.values(), strict=True)]
            rows.append(["mean", *_mean_row(six, shown), *_said(said, len(titles))])
        return head, rows

    return make


def _shown_of_reviews(runs: list[Figures]) -> list[str]:
    """Columns of models: those of fusion where all runs have them."""
    fused = [who for who in _OF_FUSION if all(who in run["accuracy"] for run in runs)]
    return ["judge", "student", "teacher", *fused, "kcm"]


def _row(runs: list[Figures], shown: list[str]) -> list[str]:
    rate = spread(run["lm_rate"]["called"] for run in runs)
    return [*(_accuracy(runs, who) for who in shown), rate, _difference([runs])]


def _mean_row(groups: list[list[Figures]], shown: list[str]) -> list[str]:
    """The mean over categories of each figure's mean over seeds."""

    def over(pick: Callable[[Figures], float | None]) -> str:
        values = [[pick(run) for run in runs] for runs in groups]
        known = [[value for value in own if value is not None] for own in values]
        return spread([mean(map(mean, known))]) if known == values else "-"

    def overall(who: str) -> str:
        return over(lambda run: run["accuracy"].get(who, {}).get("overall"))

    cells = [overall(who) for who in shown]
    return [*cells, over(lambda run: run["lm_rate"]["called"]), _difference(groups)]


def _difference(groups: list[list[Figures]]) -> str:
    """KCM's accuracy minus the large model's: the mean over seeds, with its interval.

    Seeds share their test samples. The interval is the mean of each seed's, which is no narrower than that of
    the mean.
    """
    against: list[list[tuple[Any, int]]] = [
        [(run.get("kcm_against_teacher"), run["samples"]) for run in runs] for runs in groups
    ]
    if any(counts is None for runs in against for counts, _ in runs):
        return "-"
    means = [
        mean((counts["better"] - counts["worse"]) / samples for counts, samples in runs) for runs in against
    ]
    shown = f"{100 * mean(means):+.2f}"
    if len({len(runs) for runs in against}) > 1:  # a category lacks a seed
        return shown
    found = [
        paired_difference([(counts["better"], counts["worse"], samples) for counts, samples in of_one_seed])
        for of_one_seed in zip(*against, strict=True)
    ]
    low, high = (100 * mean(one[end] for one in found) for end in ("low", "high"))
    return f"{shown} ({low:+.2f} to {high:+.2f})"


def _said(values: Iterable[float] | None, count: int) -> list[str]:
    return ["-"] * count if values is None else [f"{value:.2f}" for value in values]


def _regions(published: Mapping[str, tuple[float, ...]], titles: list[str]) -> Callable:
    """Maker of tables 3 and 5: regions, overall and LM rate by model; the published columns last."""

    def make(runs: list[Figures]) -> tuple[list[str], list[list[str]]]:
        shown = [who for who in TITLES if all(who in run["accuracy"] for run in runs)]
        regions = list(runs[0]["accuracy"]["kcm"])
        cells = {region: _said(published.get(region), len(titles)) for region in [*regions, "LM rate"]}
        rows = [
            [region, *(_accuracy(runs, who, region) for who in shown), *cells[region]] for region in regions
        ]
        called = spread(run["lm_rate"]["called"] for run in runs)
        rows.append(["LM rate", *lm_rates(shown, called), *cells["LM rate"]])
        return ["%", *(_titled(who, TITLES[who], runs) for who in shown), *titles], rows

    return make


def _captions(published: Mapping[str, tuple[float, ...]], titles: list[str]) -> Callable:
    """Maker of table 4: rows of scores and the LM rate; a column for each model, and those published."""

    def make(runs: list[Figures]) -> tuple[list[str], list[list[str]]]:
        shown = [who for who in TITLES if all(who in run["scores"] for run in runs)]
        names = [name for name in SCORES if all(name in run["scores"]["kcm"] for run in runs)]
        rows = []
        for name in names:
            cells = [_mean(run["scores"][who].get(name) for run in runs) for who in shown]
            rows.append([name, *cells, *_said(published.get(name), len(titles))])
        called = spread(run["lm_rate"]["called"] for run in runs)
        rows.append(["LM rate, %", *lm_rates(shown, called), *_said(published.get("LM rate"), len(titles))])
        return ["x 100", *(_titled(who, TITLES[who], runs) for who in shown), *titles], rows

    return make
