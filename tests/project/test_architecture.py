"""The floors of the house: nothing imports upwards, rooms of one floor do not know each other, no circles."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "kcm_lightning"

# floor of each room (a file or a folder of the package); a room may import lower floors, and itself
FLOORS = [
    {"errors", "seed", "words"},
    {
        "kan",
        "gating",
        "distillation",
        "losses",
        "prompts",
        "thresholds",
        "metrics",
        "optimizers",
        "run_folder",
        "hugging_face",
        "json_lines",
        "tables",
        "paper",
        "images",
    },
    {"small", "large", "data"},
    {"collaboration"},
    {"module", "finetune", "results", "callbacks"},
    {"calibrate", "run", "report", "sweep"},
    {"parsing", "process"},
    {"cli"},
    {"__main__", "__init__"},
]
# words of the gate that its neighbours on the ground floor speak
SHARED = {("distillation", "gating"), ("thresholds", "gating")}


def floor(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
        found |= {name.split(".")[1] for name in names if name.startswith("kcm_lightning.")}
    return found


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for other in imports(path) - {room}:
        allowed = floor(other) < floor(room) or (room, other) in SHARED
        assert allowed, (
            f"{path.relative_to(PACKAGE)} (floor {floor(room)}) imports {other} (floor {floor(other)})"
        )


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_roof_knows_the_command_line(path):
    text = path.read_text()
    if path.name not in ("cli.py", "parsing.py", "__main__.py"):
        assert "LightningCLI" not in text and "argparse.ArgumentParser(" not in text.replace(
            "jsonargparse", ""
        )


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 300
