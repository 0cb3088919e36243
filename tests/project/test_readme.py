"""What the README shows runs as it stands there."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from kcm_lightning.cli import main
from kcm_lightning.cli.configs import shipped_configs

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if "kcm_lightning" in line
]
MAKE = re.findall(r"^make (\w+)", README, re.M)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.S)


def block(name: str) -> str:
    return next(code for code in PYTHON if name in code)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kcm_lightning"])
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command, workplace, capsys):
    for name in ("cifar_lt", "apd_bert", "apd_chat", "coco_blip2"):  # what the commands before have left
        run = workplace / "runs" / name / "0"
        (run / "checkpoints").mkdir(parents=True)
        (run / "calibrated.yaml").write_text("{}")
        (run / "config.yaml").write_text((shipped_configs() / f"{name}.yaml").read_text())
    (workplace / "my_model.py").write_text(block("class Nearest"))
    (workplace / "my_data.py").write_text(block("class Inverted"))
    words = shlex.split(command, comments=True)
    if words[3] in ("report", "sweep"):
        return  # have no configuration; tests/test_report.py and tests/test_sweep.py run them
    assert words[:3] == ["python", "-m", "kcm_lightning"]
    with pytest.raises(SystemExit) as stop:
        main([*words[3:], "--print_config"])
    assert stop.value.code == 0 and "class_path" in capsys.readouterr().out


def test_own_large_model_and_own_data_run(workplace, tiny_classifier):
    """Both examples, each under 40 lines, through fit and test."""
    model, data = block("class Nearest"), block("class Inverted")
    assert len(model.splitlines()) < 40 and len(data.splitlines()) < 40
    (workplace / "my_model.py").write_text(model)
    (workplace / "my_data.py").write_text(data)
    short = [
        "--model.judge_phase.epochs=1",
        "--model.student_phase.epochs=1",
        "--trainer.enable_progress_bar=false",
    ]
    own_model = ["--config", "quickstart.yaml", "--model.teacher", "my_model.Nearest", *short]
    own_data = [
        "--config",
        "quickstart.yaml",
        "--data",
        "my_data.Inverted",
        f"--model.teacher.name={tiny_classifier(10)}",
        *short,
    ]
    for options in (own_model, own_data):
        main(["fit", *options])
        main(["test", *options])
    results = sorted(workplace.glob("runs/quickstart/*/results.json"))
    assert len(results) == 2
    assert "nearest" not in results[0].read_text() and "my_model.Nearest" in results[0].read_text()
    assert "inverted-digits" in results[1].read_text()


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    assert {"quickstart", "test"} <= set(MAKE)
    for target in re.findall(r"`?make (\w+)`?", README):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_ci_runs_the_readme_s_test_command():
    assert MAKE[:2] == ["quickstart", "test"]
    assert "make test" in (ROOT / ".ci" / "run").read_text()
