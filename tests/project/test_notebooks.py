"""The quickstart, whole: the notebook's cells are the README's commands."""

import contextlib
import io
import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from kcm_lightning.core.routing import Route
from tests.run_commands import kcm

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
NOTEBOOK = ROOT / "notebooks" / "01_quickstart.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # `!python` and the kernel are those of this environment
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["KCM_NOTEBOOK_DIR"] = str(folder)
    os.environ["PYTHONPATH"] = str(ROOT)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return notebook, folder


def shown(notebook) -> str:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs
    )


def test_notebook_trains_and_shows_table_curve_and_calibrated_row(executed):
    notebook, folder = executed
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("| Oracle router |" in output.get("data", {}).get("text/markdown", "") for output in outputs)
    text = shown(notebook)
    assert "Oracle router" in text and "KCM, accuracy_drop=0.01" in text and "saved: " in text
    assert (folder / "runs" / "quickstart" / "0" / "curve.svg").is_file()


def test_the_last_cell_has_six_samples_of_which_the_small_models_answer_most(executed):
    rows = [line.split() for line in executed[0].cells[-1].outputs[-1]["text"].splitlines()]
    assert len(rows) == 6
    assert sum(route in ("JUDGE", "STUDENT") for _, _, route in rows) > 3


def test_the_stored_notebook_has_its_outputs():
    stored = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert sum(bool(cell.outputs) for cell in code) >= len(code) - 2  # imports say nothing
    assert "\\u001b" not in NOTEBOOK.read_text()  # plain text
    assert "KCM, accuracy_drop=0.01" in shown(stored)
    assert not any(line.lstrip().startswith(("!", "%")) for cell in code for line in cell.source.splitlines())
    assert not re.search(r"(?<![\w/])/(work|tmp|home|root)/", NOTEBOOK.read_text())  # no place of a machine


def test_quickstart_is_a_collaboration_worth_having(executed):
    results = json.loads((executed[1] / "runs" / "quickstart" / "0" / "results.json").read_text())
    accuracy, rate = results["accuracy"], results["lm_rate"]["called"]
    assert rate < 0.85
    assert accuracy["kcm"]["overall"] > accuracy["random"]["overall"] + 0.01
    assert accuracy["kcm"]["overall"] >= accuracy["teacher"]["overall"] - 0.02
    assert accuracy["student"]["tail"] > accuracy["judge"]["tail"]


def test_the_readme_s_python_prints_what_it_says(executed):
    readme, folder = (ROOT / "README.md").read_text(), executed[1]
    code, shown = re.search(
        r"```python\n(from kcm_lightning import load.*?)```\n\n```\n(.*?)```", readme, re.S
    ).groups()
    kcm(folder, "calibrate", "--config", "quickstart.yaml", "--target", "accuracy_drop=0.01")
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(code, {})
    lines = [line.split() for line in printed.getvalue().splitlines()]
    assert len(lines) == len(shown.splitlines())
    for (label, confidence, route), line in zip(lines, shown.splitlines(), strict=True):
        assert label == line.split()[0] and route in Route.__members__  # who answers differs between machines
        assert abs(float(confidence) - float(line.split()[1])) < 0.1


def test_quickstart_commands_are_the_makefile_s():
    """The same commands in the same order; the notebook knows its run's folder."""
    source = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    of_notebook = [
        re.findall(r'"(\w+)", "--config", "?(\w*)', call) for call in re.findall(r"main\((.*)\)", source)
    ]
    makefile = (ROOT / "Makefile").read_text()
    of_makefile = re.findall(r"-m kcm_lightning (\w+) --config \$?\$?(\w+)", makefile)
    order = ["fit", "test", "calibrate", "test"]
    assert [name for name, _ in of_makefile] == [*order, "fit"]  # the large model's rule comes last
    assert [found[0][0] for found in of_notebook] == ["fit", *order]
