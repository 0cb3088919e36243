"""What the README and the pages of the documents show runs as it stands there."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from kcm_lightning.cli import main
from kcm_lightning.cli.configs import shipped_configs

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {path.name: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
MAKE = re.findall(r"^make (\w+)", README, re.M)


def lines_of(text: str) -> list[str]:
    """The commands of a page, one a line."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    return [line for block in blocks for line in block.splitlines() if "-m kcm_lightning" in line]


COMMANDS = list(dict.fromkeys(line for text in PAGES.values() for line in lines_of(text)))


def python_block(name: str) -> str:
    blocks = [code for text in PAGES.values() for code in re.findall(r"```python\n(.*?)```", text, re.S)]
    return next(code for code in blocks if name in code)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kcm_lightning"])
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_each_page_with_a_job_has_its_commands():
    jobs = ("README", "quickstart", "images", "texts", "chat", "captions", "thresholds", "sweeps", "mcm")
    for name in (*jobs, "own_model", "own_data", "own_images", "own_texts", "own_log"):
        assert lines_of(PAGES[f"{name}.md"]), name
    assert len(COMMANDS) > 50


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.slow
def test_commands_parse(command, workplace, capsys):
    shipped = {path.stem: path.read_text() for path in shipped_configs().glob("*.yaml")}
    own = {"things": shipped["own_images"], "tickets": shipped["own_texts"]}  # as `new` writes them
    for name, text in (shipped | own).items():  # what the commands before have left
        run = workplace / "runs" / name / "0"
        (run / "checkpoints").mkdir(parents=True)
        chosen = "model: {init_args: {thresholds: {judge: 0.9, student: 0.8}}}"
        (run / "calibrated.yaml").write_text(chosen)
        (run / "config.yaml").write_text(text)
    for name, text in own.items():
        (workplace / f"{name}.yaml").write_text(text)
    (workplace / "my_model.py").write_text(python_block("class Nearest"))
    (workplace / "my_data.py").write_text(python_block("class Inverted"))
    words = shlex.split(command, comments=True)
    while "=" in words[0]:  # variables of the environment
        words = words[1:]
    assert words[:3] == ["python", "-m", "kcm_lightning"]
    others = ("report", "cost", "monitor", "new", "import", "sweep")
    if words[3] in others or "--input" in words:  # have no configuration; their own tests run them
        assert all(Path(ROOT / word).is_file() for word in words[4:] if word.startswith("sweeps/"))
        return
    with pytest.raises(SystemExit) as stop:
        main([*words[3:], "--print_config"])
    assert stop.value.code == 0 and "class_path" in capsys.readouterr().out


@pytest.mark.slow
def test_own_large_model_and_own_data_run(workplace, tiny_classifier):
    """Both examples, each under 40 lines, through fit and test."""
    model, data = python_block("class Nearest"), python_block("class Inverted")
    assert len(model.splitlines()) < 40 and len(data.splitlines()) < 40
    (workplace / "my_model.py").write_text(model)
    (workplace / "my_data.py").write_text(data)
    short = [
        "--model.judge_phase.epochs=1",
        "--model.student_phase.epochs=1",
        "--trainer.enable_progress_bar=false",
    ]
    own_model = ["--config", "quickstart.yaml", "--model.teacher", "my_model.Nearest", *short]
    own_data = ["--config", "quickstart.yaml", "--data", "my_data.Inverted", *short]
    own_data.append(f"--model.teacher.name={tiny_classifier(10)}")
    for options in (own_model, own_data):
        main(["fit", *options])
        main(["test", *options])
    results = sorted(workplace.glob("runs/quickstart/*/results.json"))
    assert len(results) == 2
    assert (
        "my_model.Nearest" in results[0].read_text() and "nearest brightness 10.0" in results[0].read_text()
    )
    assert "inverted-digits" in results[1].read_text()


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    assert {"quickstart", "test"} <= set(MAKE)
    for text in (*PAGES.values(), (ROOT / "CONTRIBUTING.md").read_text()):
        for target in re.findall(r"(?:^|`)make ([\w-]+)", text, re.M):
            assert re.search(rf"^{target}:", makefile, re.M), target


def test_ci_runs_the_readme_s_test_command():
    assert MAKE == ["quickstart", "test"]
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_readme_is_one_screen_and_links():
    lines = README.splitlines()
    assert len(lines) <= 150 and max(map(len, lines)) <= 110
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).is_file(), target
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages == set(re.findall(r"\(docs/(\w+\.md)\)", README))


def test_prose_of_the_documents_is_short_and_american():
    for name, text in PAGES.items():
        prose = re.sub(r"```.*?```", "", text, flags=re.S)
        long = [line for line in prose.splitlines() if len(line) > 110 and not line.startswith(("|", "<!--"))]
        assert not long, f"{name}: {long[0]}"
        assert not re.search(r"optimiser|normalise|regularis|initialis|\bpicture", text, re.I), name
