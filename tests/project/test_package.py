"""The wheel carries the configurations, everything imported is declared, and starting costs little."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.slow
def test_wheel_carries_the_configurations_and_finds_them(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    shipped = {path.name for path in (ROOT / "configs").glob("*.yaml")}
    assert {path.name for path in (site / "kcm_lightning" / "configs").glob("*.yaml")} == shipped
    assert (site / "kcm_lightning" / "py.typed").is_file()
    code = "from kcm_lightning.cli.configs import find_config; print(find_config('cifar_lt.yaml').resolve())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(run.stdout.strip()) == (site / "kcm_lightning" / "configs" / "cifar_lt.yaml").resolve()


NAMES = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "pyyaml", "kan": "pykan"}
EXTRAS = {
    name: [
        re.match(r"[\w-]+", entry)[0].lower() for entry in entries if not entry.startswith("kcm_lightning")
    ]
    for name, entries in PROJECT["optional-dependencies"].items()
}
DECLARED = [re.match(r"[\w-]+", entry)[0].lower() for entry in PROJECT["dependencies"]]
OURS = ("kcm_lightning", "tests", "my_model", "test_answer_cache")


def imported(tree: ast.AST) -> set[str]:
    """Distributions that a tree imports, beyond the standard library and ours."""
    modules = set()
    for node in ast.walk(tree):
        modules |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        modules |= {node.module} if isinstance(node, ast.ImportFrom) else set()
    tops = {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {*OURS}
    return {NAMES.get(top, top).lower().replace("_", "-") for top in tops}


def test_everything_imported_is_declared_and_pinned():
    extras = {package for packages in EXTRAS.values() for package in packages}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert {*DECLARED, *extras} <= pinned
    special = {package for name in ("chat", "datasets", "parquet", "timm") for package in EXTRAS[name]}
    for folder, allowed in (
        ("kcm_lightning", {*DECLARED, *special}),
        ("tests", {*DECLARED, *extras, "tokenizers"}),
    ):
        for path in (ROOT / folder).rglob("*.py"):
            assert imported(ast.parse(path.read_text())) <= allowed, path


def test_packages_of_extras_are_imported_when_they_are_used():
    extras = {package for packages in EXTRAS.values() for package in packages} - {*DECLARED}
    for path in (ROOT / "kcm_lightning").rglob("*.py"):
        head = ast.Module(
            [node for node in ast.parse(path.read_text()).body if not isinstance(node, ast.ClassDef)], []
        )
        head.body = [node for node in head.body if not isinstance(node, ast.FunctionDef)]
        assert not imported(head) & extras, path


def test_what_the_user_fixed_is_in_the_base_install():
    fixed = "lightning torch torchvision torchmetrics transformers lightning-utilities jsonargparse"
    assert {*fixed.split(), "pycocotools", "pycocoevalcap", "tensorboard"} <= {*DECLARED}
    assert {"pykan", "pytest"} <= {*EXTRAS["dev"]}
