"""Reports: each figure out of the run folders, means over seeds by hand, what differs never averaged."""

import csv
import io
import json
import re
from statistics import mean, stdev

import pytest

from kcm_lightning.cli import main
from kcm_lightning.metrics import paired_difference
from kcm_lightning.report import report
from kcm_lightning.utils.errors import InputError


def results(name="apd", category="Baby", teacher="TextClassifier", seed=0, kcm=0.9, **model) -> dict:
    accuracy = {
        who: {"negative": value, "overall": value}
        for who, value in (("judge", 0.8), ("student", 0.85), ("teacher", 0.92))
    }
    return {
        "samples": 1000,
        "lm_rate": {"called": 0.5, "answered": 0.5},
        "accuracy": {"kcm": {"negative": kcm, "overall": kcm}, **accuracy},
        "kcm_against_teacher": {"better": 10, "worse": 30},
        "seed": seed,
        "commit": "abc",
        "command": "python -m kcm_lightning test",
        "data": {
            "name": name,
            "title": f"{name}, {category}",
            "splits": {"truncated": 0.1, "test": {"samples": 1000, "sha256": "ff"}},
        },
        "thresholds": {"judge": 0.7 + seed / 100, "student": 0.6, "teacher": 0.98},
        "temperatures": {"judge": 1.1, "student": 1.2, "teacher": 1.0},
        "config": {
            "trainer": {"max_epochs": None},
            "model": {
                "class_path": "kcm_lightning.module.KCMModule",
                "init_args": {
                    "teacher": {
                        "class_path": f"kcm_lightning.large.{teacher}",
                        "init_args": {"name": "x/bert"},
                    },
                    **model,
                },
            },
            "data": {"class_path": "kcm_lightning.data.APD", "init_args": {"category": category}},
        },
    }


@pytest.fixture
def runs(tmp_path):
    def save(*found: dict) -> str:
        for number, figures in enumerate(found):
            folder = tmp_path / "runs" / str(number)
            folder.mkdir(parents=True)
            (folder / "results.json").write_text(json.dumps(figures))
        return str(tmp_path / "runs")

    return save


def test_table_1_has_the_papers_figures_beside_ours_and_means_over_seeds(runs):
    values = [0.90, 0.91, 0.93]
    text = report([runs(*(results(seed=seed, kcm=value) for seed, value in enumerate(values)))])
    percents = [100 * value for value in values]
    row = next(line for line in text.splitlines() if line.startswith("| Baby"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:6] == [
        "Baby",
        "80.00 ± 0.00",
        "85.00 ± 0.00",
        "92.00 ± 0.00",
        f"{mean(percents):.2f} ± {stdev(percents):.2f}",
        "50.00 ± 0.00",
    ]
    assert cells[6] == "-2.00 (-3.20 to -0.80)" and cells[7:] == ["92.81", "94.45", "83.89"]
    assert (
        text.count("seed ") == 3
        and "TextClassifier bert" in text
        and "`python -m kcm_lightning test`" in text
    )


def test_fusion_has_columns_where_all_runs_have_it_and_is_never_averaged_with_what_has_none(runs):
    plain, *fused = (results(seed=seed) for seed in range(3))
    for figures in fused:
        figures["accuracy"] |= {"both": {"overall": 0.95}, "unfused": {"overall": 0.9}}
        figures |= {"fusion": {"teacher": 1.0, "judge": 0.5}, "gate": {"intercept": 0.1}}
    text = report([runs(plain, *fused)])
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert len(titles) == 2 and "fused" not in titles[0] and "learned gate, fused" in titles[1]
    first, second = text.split("## ")[1:]
    assert "Both on all" not in first
    assert "| Category | Small | Student | BERT | Both on all | KCM, not fused | KCM |" in second
    assert "| 95.00 ± 0.00 | 90.00 ± 0.00 | 90.00 ± 0.00 |" in second


def test_a_single_run_has_an_interval_and_a_seed_counts_once(runs, tmp_path):
    folder = runs(results(kcm=0.9), results(kcm=0.8))  # the same seed, perhaps with other thresholds
    text = report([folder, str(tmp_path / "runs" / "0")])
    assert "±" not in text and text.count("| Baby |") == 2 and "| -2.00 (-3.20 to -0.80) |" in text


def test_differences_are_averaged_over_seeds(runs):
    one, other = results(seed=0), results(seed=1)
    other["kcm_against_teacher"] = {"better": 0, "worse": 100}
    found = [
        paired_difference([(counts["better"], counts["worse"], 1000)])
        for counts in (one["kcm_against_teacher"], other["kcm_against_teacher"])
    ]
    low, high = (50 * (found[0][end] + found[1][end]) for end in ("low", "high"))
    assert f"| -6.00 ({low:+.2f} to {high:+.2f}) |" in report([runs(one, other)])


def test_six_categories_have_a_mean_row(runs):
    names = ("Video_Games", "Kindle_Store", "Baby", "Movies_and_TV", "Electronics", "Office_Products")
    folder = runs(*(results(category=name, kcm=0.9 + 0.01 * i) for i, name in enumerate(names)))
    head, *rows = csv.reader(io.StringIO(report([folder], "csv")))
    assert [row[0] for row in rows] == ["Games", "Kindle", "Baby", "Movies", "Electronics", "Office", "mean"]
    assert (
        rows[-1][4] == "92.50"
        and rows[-1][head.index("paper: BERT")] == f"{mean((90.39, 95.89, 92.81, 90.57, 91.76, 90.72)):.2f}"
    )


def test_runs_of_other_options_are_not_averaged_and_tables_are_told_apart(runs):
    folder = runs(
        results(),
        results(partition="printed"),
        results(teacher="Chat"),
        results(teacher="Mine"),
        results("cifar100", "", "CLIP"),
        results("digits", ""),
    )
    text = report([folder])
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == [
        "## Classification: digits",
        "## Reviews: Mine",
        "## Table 1: reviews, fine-tuned BERT: model.partition null",
        "## Table 1: reviews, fine-tuned BERT: model.partition printed",
        "## Table 2: reviews, chat model",
        "## Table 3: CIFAR-100-LT",
    ]
    assert text[text.index("## Reviews: Mine") : text.index("## Table 1")].count("paper") == 0
    assert "±" not in text and "| overall | 80.00 | 85.00 | 92.00 | 90.00 | 53.25 | 58.18 | 64.66 |" in text


def sequence(forgetting: float) -> dict:
    own = {
        "accuracy_after_each_group": [[0.5, 0.1], [0.2, 0.6]],
        "forgetting": forgetting,
        "backward_transfer": -forgetting,
    }
    return {
        "seed": int(10 * forgetting),
        "groups": 2,
        "final_accuracy": {"head": 0.2, "overall": 0.4},
        "all_classes": own,
        "own_classes": own,
    }


def test_gates_by_hand_other_lengths_and_other_fits_are_not_averaged(runs):
    calibrated, by_hand, short, fitted = (results(seed=seed) for seed in range(4))
    by_hand["temperatures"] = dict.fromkeys(by_hand["temperatures"], 1.0)
    short["config"]["trainer"]["max_epochs"] = 1
    fitted["fitted_with"] = {"seed_everything": 3, "model.init_args.loss": "plain"}
    moved = results(seed=4) | {"fitted_with": {"seed_everything": 4, "data.init_args.root": "elsewhere"}}
    text = report([runs(calibrated, by_hand, short, fitted, moved)])
    assert text.count("## Table 1") == 4
    assert [part.count("seed ") for part in text.split("## Table 1")[1:]] == [
        2,
        1,
        1,
        1,
    ]  # a place makes no difference


def test_a_row_for_each_variant_in_the_order_of_the_folders(tmp_path):
    made = {("b", 0): results(kcm=0.9), ("b", 1): results(kcm=0.8, seed=1), ("a", 0): results(kcm=0.5)}
    for (variant, seed), figures in made.items():
        folder = tmp_path / variant / str(seed)
        folder.mkdir(parents=True)
        errors = {
            "expected_calibration_error": {"judge": 0.02},
            "expected_calibration_error_untempered": {"judge": 0.25},
        }
        (folder / "results.json").write_text(json.dumps(figures | errors))
    head, *rows = csv.reader(io.StringIO(report([str(tmp_path / "b"), str(tmp_path)], "csv", by="variant")))
    assert [row[0] for row in rows] == ["b", "a"] and [row[-1] for row in rows] == ["2", "1"]
    assert rows[0][head.index("KCM overall")] == f"{mean((90, 80)):.2f} ± {stdev((90, 80)):.2f}"
    assert rows[1][head.index("ECE judge, T = 1")] == "25.00" and rows[1][head.index("ECE judge")] == "2.00"


def test_sequential_trainings_have_a_table_by_variant_alone(tmp_path):
    for seed, forgetting in enumerate((0.3, 0.5)):
        (tmp_path / "kan" / str(seed)).mkdir(parents=True)
        (tmp_path / "kan" / str(seed) / "results.json").write_text(json.dumps(sequence(forgetting)))
    head, row = csv.reader(io.StringIO(report([str(tmp_path)], "csv", by="variant")))
    assert row[head.index("all: forgetting")] == f"40.00 ± {stdev((30, 50)):.2f}" and row[
        head.index("own: mean of groups")
    ] == ("40.00 ± 0.00")
    with pytest.raises(InputError, match="give --by variant"):
        report([str(tmp_path)])
    (tmp_path / "other" / "0").mkdir(parents=True)
    (tmp_path / "other" / "0" / "results.json").write_text(json.dumps(results()))
    assert "Table 1" in report([str(tmp_path)])  # the others have their tables


def test_a_seed_that_comes_twice_in_a_variant_is_refused(tmp_path):
    for sweep in ("one", "two"):
        (tmp_path / sweep / "kcm" / "0").mkdir(parents=True)
        (tmp_path / sweep / "kcm" / "0" / "results.json").write_text(json.dumps(results()))
    with pytest.raises(InputError, match="both of variant kcm, seed 0: name one sweep"):
        report([str(tmp_path)], by="variant")
    assert (
        report([str(tmp_path / "one"), str(tmp_path / "one" / "kcm")], "csv", by="variant").count("\n") == 2
    )


def test_table_5_has_the_papers_mcm(runs):
    figures = results("cifar100", "", "CLIP")
    figures["config"]["model"]["class_path"] = "kcm_lightning.module.KCMTwoStage"
    figures["accuracy"] = {who: {"head": 0.5, "overall": 0.5} for who in ("judge", "kcm")}
    text = report([runs(figures)])
    assert (
        "## Table 5: MCM on CIFAR-100-LT" in text and "| % | Small (judge) | KCM | paper: MCM | KCM |" in text
    )
    assert (
        "| head | 50.00 | 50.00 | 70.99 | 71.54 |" in text and "| overall | 50.00 | 50.00 | - | - |" in text
    )


def test_latex_is_escaped(runs):
    text = report([runs(results("cifar100", "", "CLIP"))], "latex")
    assert r"\%" in text and text.startswith(r"\begin{tabular}{l") and "LM rate" in text


def test_on_the_command_line(runs, capsys, tmp_path):
    main(["report", runs(results()), "--format=csv"])
    assert capsys.readouterr().out.startswith("Category,Small,Student,BERT,KCM,LM rate")
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path / "none")])
    assert "holds no results.json" in capsys.readouterr().err
    for content in ("{", "[]", '{"config": {}}'):
        (tmp_path / "runs" / "0" / "results.json").write_text(content)
        with pytest.raises(InputError, match="is no results file"):
            report([str(tmp_path)])


def test_another_large_model_or_other_data_under_the_same_name_are_never_averaged(runs):
    """The large model's weights replaced, the data grown: each has a table that says what differs."""
    same, weights, grown = (results("digits", "", seed=seed) for seed in range(3))
    for figures in (same, weights, grown):
        figures["large_model_identity"] = "ImageClassifier aa"
        figures["data"]["class_names"] = {"count": 2, "sha256": "cc"}
    weights["large_model_identity"] = "ImageClassifier bb"
    grown["data"]["splits"]["train"] = {"samples": 90, "sha256": "dd"}
    again = json.loads(json.dumps(same)) | {"seed": 3}
    text = report([runs(same, weights, grown, again)])
    parts = text.split("## Classification: digits: ")[1:]
    assert [part.count("; seed ") for part in parts] == [2, 1, 1]
    assert "± 0.00" in parts[0] and "±" not in parts[1] + parts[2]
    assert (
        "differs from the first in: large model ImageClassifier aa there, ImageClassifier bb here" in parts[1]
    )
    assert "differs from the first in: train split null there, 90 samples, dd here" in parts[2]


def test_a_variant_of_a_sweep_whose_large_model_was_replaced_has_two_rows(tmp_path):
    for seed in range(3):
        figures = results("digits", "", seed=seed, kcm=0.7 + seed / 10)
        figures["large_model_identity"] = f"ImageClassifier {'aa' if seed < 2 else 'bb'}"
        (tmp_path / "kcm" / str(seed)).mkdir(parents=True)
        (tmp_path / "kcm" / str(seed) / "results.json").write_text(json.dumps(figures))
    head, *rows = csv.reader(io.StringIO(report([str(tmp_path)], "csv", by="variant")))
    assert [row[0] for row in rows] == [
        "kcm: large model ImageClassifier aa",
        "kcm: large model ImageClassifier bb",
    ]
    assert [row[head.index("KCM overall")] for row in rows] == [f"75.00 ± {stdev((70, 80)):.2f}", "90.00"]
    assert [row[-1] for row in rows] == ["2", "1"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.init_args.judge_phase", {"epochs": 3}),
        ("model.init_args.loss", "plain"),
        ("trainer.precision", "bf16-mixed"),
        ("trainer.limit_test_batches", 2),
        ("data.init_args.max_tokens", 40),
    ],
)
def test_any_option_that_makes_other_figures_keeps_a_seed_out_of_the_mean(runs, tmp_path, name, value):
    one, other = results(seed=0), results(seed=1)
    *path, last = name.split(".")
    place = other["config"]
    for part in path:
        place = place[part]
    place[last] = value
    folder = runs(one, other)
    text = report([folder])
    shown = name.replace(".init_args", "")
    assert "±" not in text and f"differs from the first in: {shown}" in text
    for seed in "01":
        (tmp_path / "kcm" / seed).mkdir(parents=True)
        (tmp_path / "runs" / seed / "results.json").rename(tmp_path / "kcm" / seed / "results.json")
    table = report([str(tmp_path / "kcm")], "csv", by="variant")
    assert "±" not in table and table.count(f"kcm: {shown}") == 2


STOPPING = {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"patience": 3}}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (
            {"not_done": ["the student was not distilled: its figures are the judge's"]},
            "not done null there, the student was not distilled: its figures",
        ),
        ({"checkpoint": "last.ckpt"}, "checkpoint best there, last here"),
        ({"samples": 900}, "samples 1000 there, 900 here"),
        (
            {"config.trainer": {"callbacks": [STOPPING]}},
            'trainer.callbacks null there, EarlyStopping {"patience": 3} here',
        ),
        (
            {"config.trainer": {"callbacks": STOPPING}},
            'trainer.callbacks null there, EarlyStopping {"patience": 3} here',
        ),
        (
            {"fitted_with": {"trainer.callbacks": "EarlyStopping {}"}},
            "fitted with trainer.callbacks null there",
        ),
    ],
)
def test_a_run_that_was_cut_short_or_is_of_another_checkpoint_is_never_averaged(runs, tmp_path, facts, said):
    whole, again, other = (results(seed=seed, kcm=0.7 + seed / 10) for seed in range(3))
    again["checkpoint"] = "runs/x/checkpoints/best.ckpt"  # another run's, of the same name
    bar = {"class_path": "lightning.pytorch.callbacks.RichProgressBar", "init_args": {}}
    again["config"]["trainer"]["callbacks"] = [bar]  # which only looks on
    for name, value in facts.items():
        if name == "config.trainer":
            other["config"]["trainer"] |= value
        else:
            other[name] = value
    text = report([runs(whole, again, other)])
    first, second = re.split("^## ", text, flags=re.M)[1:]
    assert f"| 75.00 ± {stdev((70, 80)):.2f} |" in first and "| 90.00 |" in second
    assert re.search(f"differs from the first in: {said}", second)
    if "not_done" in facts:
        assert f"`; {facts['not_done'][0]}\n" in second
    for seed in "012":
        (tmp_path / "kcm" / seed).mkdir(parents=True)
        (tmp_path / "runs" / seed / "results.json").rename(tmp_path / "kcm" / seed / "results.json")
    _, *rows = csv.reader(io.StringIO(report([str(tmp_path / "kcm")], "csv", by="variant")))
    assert [row[-1] for row in rows] == ["2", "1"]


def test_runs_that_were_all_cut_short_say_so(tmp_path):
    (tmp_path / "kcm" / "0").mkdir(parents=True)
    short = results() | {"not_done": ["the judge was trained for 3 of 40 epochs"]}
    (tmp_path / "kcm" / "0" / "results.json").write_text(json.dumps(short))
    assert "`; the judge was trained for 3 of 40 epochs\n" in report([str(tmp_path)])
    table = report([str(tmp_path)], "csv", by="variant")
    assert "\nkcm (the judge was trained for 3 of 40 epochs)," in table


def test_further_tests_of_a_run_are_variants_of_their_own(tmp_path):
    run = tmp_path / "kcm" / "0"
    for folder, kcm in ((run, 0.9), (run / "tests" / "judge-0.9-ab", 0.8)):
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps(results(kcm=kcm)))
    head, *rows = csv.reader(io.StringIO(report([str(tmp_path)], "csv", by="variant")))
    assert [row[0] for row in rows] == ["kcm", "kcm, judge-0.9-ab"]
    assert [row[head.index("KCM overall")] for row in rows] == ["90.00", "80.00"]
    assert report([str(tmp_path)]).count("| Baby |") == 2


def test_a_figure_that_a_run_lacks_is_no_mean_of_the_others(tmp_path):
    one, other = results(seed=0), results(seed=1)
    del other["accuracy"]["teacher"], other["kcm_against_teacher"]
    one["share_of_oracle_gain"] = 0.5
    for seed, figures in enumerate((one, other)):
        (tmp_path / "kcm" / str(seed)).mkdir(parents=True)
        (tmp_path / "kcm" / str(seed) / "results.json").write_text(json.dumps(figures))
    (row,) = (line for line in report([str(tmp_path)]).splitlines() if line.startswith("| Baby"))
    assert [cell.strip() for cell in row.strip("|").split("|")][1:4] == ["80.00 ± 0.00", "85.00 ± 0.00", "-"]
    head, row = csv.reader(io.StringIO(report([str(tmp_path)], "csv", by="variant")))
    assert row[head.index("teacher")] == "92.00 (1 of 2)" and row[head.index("share")] == "50.00 (1 of 2)"


def test_columns_with_unanswered_samples_say_how_many(runs):
    one, other = results(seed=0), results(seed=1)
    one["unanswered"], other["unanswered"] = {"teacher": 30, "kcm": 2}, {"teacher": 10, "kcm": 0}
    text = report([runs(one, other)])
    assert "| BERT, 40 of 2000 unanswered | KCM, 2 of 2000 unanswered |" in text


def test_columns_of_regions_with_unanswered_samples_say_how_many(runs):
    digits = results("digits", "") | {"unanswered": {"teacher": 0, "kcm": 1}}
    assert "| Large | KCM, 1 of 1000 unanswered |" in report([runs(digits)])


def captions() -> dict:
    figures = results("coco", "", "ImageToText")
    del figures["accuracy"], figures["kcm_against_teacher"]
    scores = {who: {"BLEU-4": 0.3, "CIDEr": 0.9} for who in ("judge", "kcm")}
    return figures | {"scores": scores, "scoring": "words"}


KINDS = [results("cifar100", "", "CLIP"), results(), sequence(0.3), captions()]
GARBAGE = [None, "text", -1, 1.5, [None], {}, {"x": None}]


def places(tree: dict, path: tuple = ()) -> list[tuple]:
    """Paths to each value of a tree of dictionaries."""
    found = [(*path, key) for key in tree]
    return found + [
        p for key, own in tree.items() if isinstance(own, dict) for p in places(own, (*path, key))
    ]


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_results_that_are_incomplete_or_garbage_are_one_line_and_never_a_traceback(tmp_path, kind):
    """Each value in its turn left out, and replaced by what is none."""
    folder = tmp_path / "kcm" / "0"
    folder.mkdir(parents=True)
    refused = 0
    for path in places(KINDS[kind]):
        for value in ("left out", *GARBAGE):
            figures = json.loads(json.dumps(KINDS[kind]))
            place = figures
            for part in path[:-1]:
                place = place[part]
            if value == "left out":
                del place[path[-1]]
            else:
                place[path[-1]] = value
            (folder / "results.json").write_text(json.dumps(figures))
            for by in ("table", "variant"):
                try:
                    report([str(tmp_path)], by=by)
                except InputError as error:
                    refused += 1
                    assert "\n" not in str(error), path
    assert refused > 100


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"accuracy": {}, "accuracy": {}}', "is there twice"),
        (b'{"accuracy": NaN}', "NaN is no number"),
        (b"\xff\xfe", "is no UTF-8"),
        (b'{"accuracy": {}}', "seed is missing"),
        (b'{"groups": 3, "seed": 0, "final_accuracy": {"head": null}}', "final_accuracy is no numbers"),
        (b"{}", "none of groups, accuracy, scores"),
    ],
)
def test_what_is_no_results_file_says_why(tmp_path, content, said):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"results.json is no results file of this project: .*{said}"):
        report([str(tmp_path)])
