"""What the program says of itself, before anything heavy is imported."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kcm_lightning.cli import main
from kcm_lightning.cli.configs import list_configs, shipped_configs
from kcm_lightning.cli.main import to_go_on
from kcm_lightning.cli.overview import OTHERS, WITH_CONFIG

ROOT = Path(__file__).parent.parent.parent
LIGHT = (
    "[]",
    "['--help']",
    "['--version']",
    "['configs']",
    "['configs', '--help']",
    "['configs', 'show', 'quickstart']",
    "['fit', '--help']",
    "['calibrate', '--config', 'quickstart.yaml', '-h']",
)


@pytest.mark.parametrize("words", LIGHT)
def test_it_imports_no_torch_to_speak_of_itself(words):
    code = f"import sys; from kcm_lightning.cli import main; main({words}); sys.exit('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and run.stdout, run.stderr


def test_help_costs_little_cpu():
    """At most 1.2 times `import jsonargparse` plus 1 s of CPU."""

    def cpu(*words: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert cpu("-m", "kcm_lightning", "--help") <= 1.2 * cpu("-c", "import jsonargparse") + 1


@pytest.mark.parametrize("name", ["fit", "report", "sweep"])
def test_a_command_speaks_within_two_seconds(tmp_path, name):
    """Before torch is imported; then it is stopped."""
    words = ["--config", "quickstart.yaml"] if name == "fit" else ["x"]
    command = [sys.executable, "-m", "kcm_lightning", name, *words]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    start = time.process_time(), time.monotonic()
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=-3, stderr=subprocess.PIPE, text=True
    ) as run:
        first = run.stderr.readline()
        seconds = time.monotonic() - start[1]
        run.kill()
    assert first == f"kcm_lightning {name}: loading PyTorch\n"
    assert seconds < 2 * max(1.0, os.getloadavg()[0] / 2)  # of a machine that is not busy


def test_help_has_every_command(capsys):
    main(["--help"])
    shown = capsys.readouterr().out
    for name, text in (WITH_CONFIG | OTHERS).items():
        assert f"  {name:<10} {text}\n" in shown
    assert shown.startswith("usage: python -m kcm_lightning COMMAND") and "--version" in shown
    assert max(map(len, shown.splitlines())) <= 110


def test_configs_are_listed_with_a_line_each_and_shown(capsys):
    main(["configs"])
    lines = capsys.readouterr().out.splitlines()
    names = sorted(path.name for path in shipped_configs().glob("*.yaml"))
    assert [line.split()[0] for line in lines if line[:1].strip() and ".yaml " in line][: len(names)] == names
    assert all(5 <= len(text.split()) <= 30 for _, text in list_configs())
    main(["configs", "show", "quickstart"])
    assert capsys.readouterr().out == (shipped_configs() / "quickstart.yaml").read_text()


@pytest.mark.parametrize("columns", [80, 120])
def test_lists_and_help_fit_the_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    for words in (["configs"], *([name, "--help"] for name in WITH_CONFIG)):
        main(words)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= columns and max(map(len, lines)) > 0.7 * min(columns, 100)


def test_help_of_a_command_has_its_options_and_where_the_others_are(capsys):
    main(["calibrate", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for word in (
        "--target TARGET",
        "accuracy_drop=X",
        "--output FILE",
        "--run FOLDER",
        "--model.help KCMModule",
    ):
        assert word in shown
    main(["fit", "--help"])
    shown = capsys.readouterr().out
    assert "--target" not in shown and len(shown.splitlines()) < 40


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fit"], "fit needs a configuration: --config FILE, your own or a shipped one, as quickstart.yaml"),
        (["test", "--ckpt_path", "last"], "test needs a configuration"),
        (["fti", "--config", "quickstart.yaml"], "there is no command 'fti'; did you mean fit?"),
        (["zzz", "--config", "quickstart.yaml"], "there is no command 'zzz'; there are fit, validate"),
        (["--config", "quickstart.yaml"], "there is no command '--config'"),
        (["configs", "quickstart.yaml"], "`configs show NAME` prints one"),
        (["configs", "show", "quikstart"], "did you mean quickstart.yaml"),
        (["configs", "show"], "configs show needs a name, one of apd_bert.yaml"),
    ],
)
def test_what_is_missing_is_said(words, says, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert says in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("given", [[], ["--run", "here"], ["--run=here"]])
def test_the_command_that_goes_on_names_the_run_once(tmp_path, monkeypatch, given):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    monkeypatch.setenv("KCM_RUN_FOLDER", str(tmp_path))
    words = to_go_on(["fit", "--config", "mine.yaml", *given])
    run = " ".join(given) or f"--run {tmp_path}"
    assert words == f"python -m kcm_lightning fit --config mine.yaml {run} --ckpt_path last"
