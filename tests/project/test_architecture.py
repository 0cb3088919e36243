"""The floors of the house: nothing imports upwards, rooms of one floor do not know each other, no circles."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent.parent / "kcm_lightning"

# floor of each room (a file or a folder of the package); a room may import lower floors, and itself
FLOORS = [
    {"utils"},
    {"kan", "metrics"},
    {"core"},
    {"small", "large", "data"},
    {"module", "results", "callbacks"},
    {"calibrate", "monitor", "report", "sweep"},
    {"api"},
    {"predict", "new"},
    {"cli"},
    {"__main__", "__init__"},
]
FILES = sorted(PACKAGE.rglob("*.py"))
ids = {"ids": lambda path: str(path.relative_to(PACKAGE))}


def floor(room: str) -> int:
    return next(i for i, rooms in enumerate(FLOORS) if room in rooms)


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, at its head or within a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & set(MODULES)) or {str(node.module)}
    return found & set(MODULES)


@pytest.mark.parametrize("path", FILES, **ids)
def test_imports_go_down(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imports(path) - {PACKAGE.name}:  # it names its version
        other = module.split(".")[1]
        allowed = other == room or floor(other) < floor(room)
        assert allowed, (
            f"{path.relative_to(PACKAGE)} (floor {floor(room)}) imports {other} (floor {floor(other)})"
        )


def circles(needs: dict[str, set[str]]) -> list[list[str]]:
    """Paths of imports that come back to where they started."""
    found, done = [], set()

    def walk(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for other in sorted(needs[name]):
                walk(other, [*path, name])
            done.add(name)

    for name in needs:
        walk(name, [])
    return found


def test_no_circle_anywhere():
    needs = {}
    for name, path in MODULES.items():
        own = imports(path) - {name}
        # a file of a room imports its neighbors one by one, not through the room's front
        assert not (own & {name.rpartition(".")[0]} and path.name != "__init__.py"), (
            f"{name} imports its own room"
        )
        needs[name] = own
    assert circles(needs) == []


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c", "a"]]


@pytest.mark.parametrize("path", [p for p in FILES if "core" in p.parts], **ids)
def test_the_paper_needs_torch_alone(path):
    tops = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            tops |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            tops.add(str(node.module).split(".")[0])
    standard = {"abc", "collections", "dataclasses", "enum", "string", "typing"}
    assert tops <= {"torch", "kcm_lightning"} | standard


@pytest.mark.parametrize("path", FILES, **ids)
def test_only_the_command_line_knows_the_command_line(path):
    text = path.read_text()
    if "cli" not in path.relative_to(PACKAGE).parts:
        assert "LightningCLI" not in text and "argparse.ArgumentParser(" not in text.replace(
            "jsonargparse", ""
        )


@pytest.mark.parametrize("path", FILES, **ids)
def test_files_functions_and_lines_stay_short(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 300 and max(map(len, lines), default=0) <= 110
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno <= 60, node.name


def test_few_files_are_loose():
    loose = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert len(loose) <= 4


def test_the_tests_mirror_the_package():
    """Each folder of the tests that is not about the project as a whole is a room of the package."""
    tests = PACKAGE.parent / "tests"
    folders = {path.name for path in tests.iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").is_file()}
    assert folders == rooms | {"project"}
