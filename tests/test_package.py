"""The wheel carries the configurations, everything imported is declared, and starting costs little."""

import ast
import os
import re
import statistics
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_wheel_carries_the_configurations_and_finds_them(tmp_path):
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    shipped = {path.name for path in (ROOT / "configs").glob("*.yaml")}
    assert {path.name for path in (site / "kcm_lightning" / "configs").glob("*.yaml")} == shipped
    code = "from kcm_lightning.run_folder import find_config; print(find_config('cifar_lt.yaml').resolve())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(run.stdout.strip()) == (site / "kcm_lightning" / "configs" / "cifar_lt.yaml").resolve()


def test_everything_imported_is_declared_and_pinned():
    names = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "pyyaml", "kan": "pykan"}
    declared = [re.match(r"[\w-]+", entry)[0].lower() for entry in PROJECT["dependencies"]]
    development = [re.match(r"[\w-]+", entry)[0].lower() for entry in PROJECT["optional-dependencies"]["dev"]]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line
    }
    assert {*declared, *development} <= pinned
    for folder, allowed in (("kcm_lightning", declared), ("tests", [*declared, *development, "tokenizers"])):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module] if isinstance(node, ast.ImportFrom) else []
                for module in modules:
                    top = module.split(".")[0]
                    if top in sys.stdlib_module_names or top in ("kcm_lightning", "tests", "my_model", "test_cache"):
                        continue
                    assert names.get(top, top).lower().replace("_", "-") in allowed, f"{path}: {module}"


def test_help_costs_little_more_than_an_empty_lightning_cli():
    """Budget 1.3x, medians of interleaved runs; up to three rounds, for a machine that is busy with something else."""
    empty = "import sys; from lightning.pytorch.cli import LightningCLI; sys.argv[1:] = ['fit', '--help']; LightningCLI()"
    commands = {"empty": [sys.executable, "-c", empty], "ours": [sys.executable, "-m", "kcm_lightning", "fit", "--help"]}
    ratios = []
    for _ in range(3):
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(3):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
                times[name].append(time.perf_counter() - start)
        ratios.append(statistics.median(times["ours"]) / statistics.median(times["empty"]))
        if ratios[-1] <= 1.3:
            return
    raise AssertionError(f"help takes {ratios} times as long as that of an empty LightningCLI")


def test_heavy_imports_wait_until_they_are_needed():
    """Nothing beyond what Lightning itself imports."""
    heavy = ("transformers", "torchvision", "sklearn", "pandas")
    seen = []
    for module in ("lightning.pytorch.cli", "kcm_lightning.cli"):
        code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
        seen.append(subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert seen[0] == seen[1]
