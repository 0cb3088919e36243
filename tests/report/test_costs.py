"""The page of costs against sums by hand."""

import json

import pytest

from kcm_lightning.cli.main import main
from kcm_lightning.report import cost_page
from kcm_lightning.utils.errors import InputError
from tests.report.test_report import results
from tests.results.test_costs import results as measured


@pytest.fixture
def run(tmp_path):
    found = results() | measured(1.0, 2.0, 10.0)
    found["costs"] |= {"samples": 64, "device": "cpu", "threads": 2}
    found["large_model"] = {
        "money": 5.0,
        "answers": 2_500,
        "currency": "USD",
        "money_per_1000_questions": 2.0,
    }
    (tmp_path / "results.json").write_text(json.dumps(found))
    (tmp_path / "fit.json").write_text(json.dumps({"seconds": 600.0}))
    return tmp_path


def test_the_page_has_table_totals_and_what_is_paid_back(run):
    page = cost_page(run)
    assert "measured on 64 samples (cpu, 2 threads), at an LM rate of 60.0 %" in page
    assert "| milliseconds | 1 | 1.5 | 10 | 8.5 | 0.85 | 75.0 |" in page
    assert "| USD | 0 | 0 | 0.002 | 0.0012 | 0.60 | 100.0 |" in page
    assert "60 calls of the large model for 100 samples" in page
    assert "what was paid so far (5 USD) is paid back by 6,250 samples" in page  # of 0.0008 each
    assert "the 10.0 minutes of `fit` are paid back in time by 400,000 samples" in page  # of 1.5 ms each


def test_the_command_prints_it_and_says_what_is_missing(run, capsys, tmp_path_factory):
    main(["cost", str(run)])
    assert "KCM / large" in capsys.readouterr().out
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(InputError, match="holds no results"):
        cost_page(empty)
    found = json.loads((run / "results.json").read_text())
    del found["large_model"], found["costs"]
    (run / "results.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match="tells no costs of the large model"):
        cost_page(run)


def test_a_further_test_of_a_run_is_of_the_same_fit(run):
    further = run / "tests" / "lm_rate-0.4"
    further.mkdir(parents=True)
    (further / "results.json").write_text((run / "results.json").read_text())
    assert "minutes of `fit`" in cost_page(further)
