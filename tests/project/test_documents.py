"""The tables of the documents are what `report` makes of the kept results, byte for byte."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_table_is_what_its_command_prints(tables, monkeypatch):
    monkeypatch.chdir(ROOT)
    for document in tables.DOCUMENTS:
        text = document.read_text()
        assert tables.made_anew(text) == text, f"{document.name} is not up to date: run `make tables`"


def test_every_table_of_the_results_has_its_command():
    text = (ROOT / "docs" / "results.md").read_text()
    for table in re.finditer(r"(?:^\|.*\n)+", text, re.MULTILINE):
        before = text[: table.start()].rstrip().splitlines()[-1]
        assert before.startswith(("<!-- report docs/results/", "<!-- python -m benchmarks.")), (
            f"no command stands before: {table[0].splitlines()[0]}"
        )


def test_the_readme_has_the_figures_of_the_results():
    (table,) = re.findall(
        r"(?:^\|.*\n)+",
        (ROOT / "README.md").read_text().split("\n## Results\n")[1].split("\n## ")[0],
        re.MULTILINE,
    )
    rows = (ROOT / "docs" / "results.md").read_text().split("## CIFAR-100-LT at full length")[1].splitlines()
    for row in table.splitlines()[2:]:  # without the paper's columns
        assert any(longer.startswith(row) for longer in rows), row


def test_a_changed_figure_is_noticed(tables, monkeypatch, tmp_path):
    shutil.copytree(ROOT / "docs" / "results" / "coco", tmp_path / "docs" / "results" / "coco")
    monkeypatch.chdir(tmp_path)
    command = "report docs/results/coco"
    text = tables.made_anew(f"Some text.\n\n<!-- {command} -->\n\n| old |\n\nMore text.\n")
    assert (
        text.startswith("Some text.")
        and text.endswith("\n\nMore text.\n")
        and "| BLEU-4 | 8.88 ± 1.63 |" in text
    )
    file = tmp_path / "docs" / "results" / "coco" / "kan" / "0" / "results.json"
    file.write_text(re.sub(r'"BLEU-4": [\d.]+', '"BLEU-4": 0.5', file.read_text()))
    assert tables.made_anew(text) != text


def test_the_kept_results_name_no_place_of_a_machine():
    files = list((ROOT / "docs" / "results").rglob("results.json"))
    assert files
    for file in files:
        assert not re.search(r'"[^"]*/(tmp|work|home|root)/', file.read_text()), file
        assert file.stat().st_size < 15_000, f"{file} is too large to keep"
