"""Sweeps: what their files mean, runs that are killed and taken up again, two processes at one sweep."""

import errno
import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path
from statistics import mean, stdev

import pytest
import yaml

from kcm_lightning.cli import main
from kcm_lightning.sweep import Cell, commands, read_sweep, sweep, sweep_table
from kcm_lightning.utils.errors import InputError

ROOT = Path(__file__).parent.parent.parent
STUB = """
import json, pathlib, sys, time
words = sys.argv[1:]
run = pathlib.Path(words[words.index("--run") + 1])
with open(run / "calls.txt", "a") as file:
    file.write(" ".join(words) + "\\n")
time.sleep(float(next((w.split("=")[1] for w in words if w.startswith("--seconds=")), 0)))
if "--fail=true" in words:
    sys.exit("error: it was told to fail")
if words[0] == "fit":
    (run / "checkpoints").mkdir(exist_ok=True)
    (run / "checkpoints" / "last.ckpt").touch()
else:
    accuracy = {who: {"overall": 0.5} for who in ("judge", "student", "teacher")}
    accuracy["kcm"] = {"head": 0.6, "overall": int(run.name) / 10}
    results = {"accuracy": accuracy, "lm_rate": {"called": 0.25}, "seed": int(run.name), "samples": 10}
    results |= {"command": "test", "thresholds": {}, "temperatures": {}}
    results["data"] = {"name": "stub", "splits": {"test": {"samples": 10, "sha256": "0"}}}
    teacher = {"class_path": "stub.Large"}
    results["config"] = {"model": {"init_args": {"teacher": teacher}}, "data": {"class_path": "stub.Data"}}
    results["config"]["trainer"] = {}
    (run / "results.json").write_text(json.dumps(results))
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a sweep; its commands are run by a stand-in for the program that notes what it was asked."""
    (tmp_path / "stub" / "kcm_lightning").mkdir(parents=True)
    (tmp_path / "stub" / "kcm_lightning" / "__init__.py").touch()
    (tmp_path / "stub" / "kcm_lightning" / "__main__.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))
    monkeypatch.chdir(tmp_path / "stub")  # the working folder is where `python -m` looks first

    def write(**changes) -> Path:
        wanted = {
            "folder": str(tmp_path / "sweep"),
            "config": "quickstart.yaml",
            "seeds": [1, 2],
            "steps": ["fit", "test"],
        }
        wanted["variants"] = {"first": {}, "second": {"options": {"model.loss": "plain"}}}
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(wanted | changes, sort_keys=False))
        return path

    write.folder = tmp_path / "sweep"
    return write


def calls(cell: Path) -> list[str]:
    return [line.split()[0] for line in (cell / "calls.txt").read_text().splitlines()]


def test_every_cell_runs_once_and_the_table_has_mean_deviation_and_count(write, capsys):
    path = write()
    assert sweep(path) == 0 and sweep(path) == 0
    for variant in ("first", "second"):
        for seed in ("1", "2"):
            assert calls(write.folder / variant / seed) == ["fit", "test"]
    head, rows = sweep_table(read_sweep(path))
    column = head.index("KCM overall")
    assert [row[column] for row in rows] == [f"{mean((10, 20)):.2f} ± {stdev((10, 20)):.2f}"] * 2
    assert [row[-1] for row in rows] == ["2", "2"] and rows[0][head.index("LM rate")] == "25.00 ± 0.00"
    assert "4 of 4 cells are done, 0 have failed" in capsys.readouterr().out
    assert (write.folder / "table.md").read_text().count("\n") == 4


def test_places_are_filled_in_and_needs_go_first(write):
    variants = {
        "student": {
            "needs": ["judge"],
            "options": {"model.judge_ckpt": "{sweep}/judge/{seed}/checkpoints/best.ckpt"},
        },
        "judge": {
            "steps": ["fit"],
            "options": {"model.student_phase.epochs": 0, "model.judge.depths": [1, 2]},
        },
    }
    path = write(variants=variants, steps=["fit", "test --config {run}/calibrated.yaml"], seeds=[1])
    student, judge = read_sweep(path)
    where = write.folder / "student" / "1"
    assert student.commands[0] == [
        *["fit", "--config", "quickstart.yaml", "--seed_everything=1"],
        f"--model.judge_ckpt={write.folder}/judge/1/checkpoints/best.ckpt",
        *["--run", str(where)],
    ]
    assert student.commands[1][-4:] == ["--config", f"{where}/calibrated.yaml", "--run", str(where)]
    assert "--model.judge.depths=[1, 2]" in judge.commands[0]
    assert sweep(path) == 0
    assert (where / "calls.txt").stat().st_mtime >= (
        write.folder / "judge" / "1" / "calls.txt"
    ).stat().st_mtime
    lines = commands(path).splitlines()
    assert len(lines) == 2 and shlex.split(lines[1])[:4] == ["python", "-m", "kcm_lightning", "fit"]


def test_a_variant_without_a_fit_tests_what_another_has_trained(write):
    read = {
        "config": "{sweep}/judge/{seed}/config.yaml",
        "needs": ["judge"],
        "options": {"model.thresholds.judge": 0.5},
    }
    read["steps"] = ["test --ckpt_path {sweep}/judge/{seed}/checkpoints/best.ckpt"]
    path = write(variants={"judge": {}, "half": read}, seeds=[1], options={"data.root": "here"})
    judge, half = read_sweep(path)
    trained = f"{write.folder}/judge/1"
    assert half.commands == [
        [
            *["test", "--config", f"{trained}/config.yaml", "--seed_everything=1", "--data.root=here"],
            *[
                "--model.thresholds.judge=0.5",
                "--ckpt_path",
                f"{trained}/checkpoints/best.ckpt",
                "--run",
                str(half.folder),
            ],
        ]
    ]
    assert judge.commands[1][:3] == ["test", "--config", f"{judge.folder}/config.yaml"]
    assert sweep(path) == 0 and calls(half.folder) == ["test"]


def test_variables_of_the_environment_are_filled_in(write, monkeypatch):
    path = write(options={"data.root": "${SWEEP_DATA}/x"})
    with pytest.raises(InputError, match="needs the environment variable SWEEP_DATA"):
        read_sweep(path)
    monkeypatch.setenv("SWEEP_DATA", "/data")
    assert "--data.root=/data/x" in shlex.split(commands(path).splitlines()[0])
    assert (
        sweep(path) == 0 and "--data.root=/data/x" in (write.folder / "first" / "1" / "calls.txt").read_text()
    )
    monkeypatch.setenv("SWEEP_DATA", "/moved")  # the same data in another place: nothing is done again
    assert sweep(path) == 0 and calls(write.folder / "first" / "1") == ["fit", "test"]


def test_a_file_that_has_changed_since_is_refused(write):
    assert sweep(write(seeds=[1])) == 0
    for changes in ({"options": {"model.loss": "plain"}}, {"steps": ["fit", "test --model.compare false"]}):
        with pytest.raises(InputError, match=r"has changed since '(fit|test) .* made"):
            sweep(write(seeds=[1], **changes))
    assert sweep(write(seeds=[1], steps=["fit", "test", "validate"])) == 0  # a step that is new is done
    assert calls(write.folder / "first" / "1") == ["fit", "test", "validate"]


def test_a_sweep_s_folder_may_move(write, tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", str(tmp_path / "here"))
    path = write(folder="${PLACE}/sweep", seeds=[1])
    assert sweep(path) == 0 and calls(tmp_path / "here" / "sweep" / "first" / "1") == ["fit", "test"]
    (tmp_path / "here").rename(tmp_path / "there")
    monkeypatch.setenv("PLACE", str(tmp_path / "there"))
    assert sweep(path) == 0 and calls(tmp_path / "there" / "sweep" / "first" / "1") == ["fit", "test"]


def test_folders_and_values_with_spaces(write, tmp_path):
    path = write(
        folder=str(tmp_path / "my sweep"), seeds=[1], steps=["fit", "test --config {run}/calibrated.yaml"]
    )
    assert sweep(path) == 0
    assert read_sweep(path)[0].commands[1][3:5] == [
        "--config",
        f"{tmp_path}/my sweep/first/1/calibrated.yaml",
    ]


def test_the_shipped_sweeps_are_read(monkeypatch):
    for name in ("CAPTIONS", "DATA", "LARGE", "TOKENIZER"):
        monkeypatch.setenv(name, name.lower())
    for path in (ROOT / "sweeps").glob("*.yaml"):
        assert read_sweep(path)


def test_a_failed_cell_is_told_the_others_go_on_and_the_next_sweep_tries_it_again(write, capsys):
    variants = {"bad": {"options": {"fail": True}}, "after": {"needs": ["bad"]}, "good": {}}
    assert sweep(write(variants=variants, seeds=[1])) == 1
    printed = capsys.readouterr().out
    assert (
        "bad, seed 1: fit failed: error: it was told to fail" in printed
        and "1 of 3 cells are done, 1 have failed" in printed
    )
    assert not (write.folder / "after" / "1" / "calls.txt").exists()
    assert sweep(write(variants=variants | {"bad": {}}, seeds=[1])) == 0
    assert calls(write.folder / "bad" / "1") == ["fit", "fit", "test"] and calls(
        write.folder / "good" / "1"
    ) == ["fit", "test"]


def start(path: Path, cell: int | None = None) -> subprocess.Popen:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path; "
    code += "from kcm_lightning.sweep import sweep; "
    return subprocess.Popen(
        [sys.executable, "-c", code + f"sys.exit(sweep(Path({str(path)!r}), {cell}))"], start_new_session=True
    )


def start_slow(write) -> tuple[Path, subprocess.Popen, Path]:
    """A sweep of one cell whose `fit` goes on for seconds, its process, and the cell's folder."""
    path = write(variants={"slow": {}}, seeds=[1], options={"seconds": 3})
    process, cell = start(path), write.folder / "slow" / "1"
    while not (cell / "calls.txt").is_file() and process.poll() is None:
        time.sleep(0.05)
    return path, process, cell


@pytest.mark.slow
def test_two_processes_share_the_cells_and_run_none_twice(write):
    variants = {"judge": {}, **{f"v{i}": {"needs": ["judge"]} for i in range(3)}}
    path = write(variants=variants, seeds=[1, 2], options={"seconds": 0.3})
    both = [start(path) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    cells = read_sweep(path)
    assert all(cell.finished and calls(cell.folder) == ["fit", "test"] for cell in cells)


@pytest.mark.slow
def test_a_killed_sweep_is_taken_up_where_it_was(write, monkeypatch):
    monkeypatch.setenv("FIT_SECONDS", "3")
    path = write(variants={"slow": {}}, seeds=[1], options={"seconds": "${FIT_SECONDS}"})
    process, cell = start(path), write.folder / "slow" / "1"
    for _ in range(600):
        if (cell / "calls.txt").is_file():
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (cell / "checkpoints").mkdir(exist_ok=True)
    (cell / "checkpoints" / "last.ckpt").touch()  # as a fit of some epochs leaves
    monkeypatch.setenv("FIT_SECONDS", "0")
    with pytest.raises(InputError, match=r"has changed since .fit"):  # it would be resumed with other options
        sweep(
            write(
                variants={"slow": {}}, seeds=[1], options={"seconds": "${FIT_SECONDS}", "model.loss": "plain"}
            )
        )
    assert sweep(write(variants={"slow": {}}, seeds=[1], options={"seconds": "${FIT_SECONDS}"})) == 0
    lines = (cell / "calls.txt").read_text().splitlines()
    assert len(lines) == 3 and lines[1].endswith("--ckpt_path last") and lines[2].startswith("test")


@pytest.mark.slow
def test_a_command_that_outlives_its_sweep_keeps_its_cell(write, capsys):
    path, process, cell = start_slow(write)
    process.kill()  # alone: its `fit` goes on
    process.wait()
    assert (
        sweep(path) == 0
        and "0 of 1 cells are done, 0 have failed, 1 are under way in another process"
        in capsys.readouterr().out
    )
    assert calls(cell) == ["fit"]


@pytest.mark.slow
def test_one_cell_that_another_process_is_at_is_no_success(write):
    path, process, cell = start_slow(write)
    assert sweep(path, cell=0) == 1 and calls(cell) == ["fit"]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_what_was_made_from_a_cell_that_is_gone_is_not_taken_for_done(write):
    path = write(variants={"judge": {}, "student": {"needs": ["judge"]}}, seeds=[1])
    assert sweep(path) == 0
    (write.folder / "judge" / "1").rename(write.folder / "away")
    with pytest.raises(
        InputError, match=r"student/1 was made from .*judge/1, which is to be made anew: move it away too"
    ):
        sweep(path)
    (write.folder / "student" / "1").rename(write.folder / "away too")
    assert sweep(path) == 0 and calls(write.folder / "student" / "1") == ["fit", "test"]


def test_places_that_cannot_be_written_or_locked_are_told_in_a_line(write, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"first/1 cannot be made: Not a directory"):
        sweep(write(folder=str(tmp_path / "file" / "sweep")))

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(InputError, match="keeps no locks: No locks available"):
        sweep(write())


def test_a_keyboard_interrupt_ends_in_a_line(write, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(write())])
    assert stop.value.code == 130 and "stopped: the same command goes on from here" in capsys.readouterr().err


def test_a_terminated_sweep_stops_its_command_too(write, capsys):
    path = write(variants={"slow": {}}, seeds=[1], options={"seconds": 30})
    cell, start = write.folder / "slow" / "1", time.monotonic()

    def terminate() -> None:
        while not (cell / "calls.txt").is_file():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=terminate, daemon=True).start()
    with pytest.raises(SystemExit) as stop:
        main(["sweep", str(path)])
    assert stop.value.code == 143 and time.monotonic() - start < 25
    assert "stopped: the same command goes on from here" in capsys.readouterr().err
    with (cell / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until the command has ended


def test_one_cell_alone(write):
    assert sweep(write(), cell=3) == 0
    assert [cell.finished for cell in read_sweep(write())] == [False, False, False, True]
    with pytest.raises(InputError, match="has cells 0 to 3, there is no 4"):
        sweep(write(), cell=4)


def test_one_cell_alone_runs_what_it_needs_first_and_its_failure_is_its_own(write):
    variants = {"student": {"needs": ["judge"]}, "judge": {}, "other": {}}
    assert sweep(write(variants=variants, seeds=[1]), cell=0) == 0
    assert [cell.finished for cell in read_sweep(write(variants=variants, seeds=[1]))] == [True, True, False]
    assert calls(write.folder / "judge" / "1") == ["fit", "test"]
    variants["judge"] = {"options": {"fail": True}}
    assert sweep(write(variants=variants, seeds=[2]), cell=0) == 1
    assert not (write.folder / "student" / "2" / "calls.txt").exists()


@pytest.mark.slow
def test_cells_that_are_started_at_once_wait_for_the_one_that_all_need(write):
    variants = {"judge": {}, **{f"v{i}": {"needs": ["judge"]} for i in range(2)}}
    path = write(variants=variants, seeds=[1], options={"seconds": 0.3})
    started = [start(path, cell=number) for number in (1, 2)]
    assert [process.wait(60) for process in started] == [0, 0]
    assert all(calls(cell.folder) == ["fit", "test"] for cell in read_sweep(path))


def test_bad_files_are_refused(write, tmp_path):
    for changes, said in (
        ({"seeds": []}, "at least one variant and one seed"),
        ({"seeds": ["a"]}, "a seed is a whole number"),
        ({"seeds": [1, 1]}, "none is there twice"),
        ({"seeds": 3}, "seeds is a list, not 3"),
        ({"steps": "fit"}, "steps is a list, not 'fit'"),
        ({"steps": ["fit 'x"]}, "cannot be split into words: No closing quotation"),
        ({"steps": [""]}, "at least one step, and none that is empty"),
        ({"folder": 3}, "folder is a text, not 3"),
        ({"folder": None}, "give a folder"),
        ({"folder": "${NOT_SET}/x"}, "needs the environment variable NOT_SET"),
        ({"options": ["x"]}, "options is a mapping"),
        ({"variants": {"a": {}, "b": {"needs": "a"}}}, "needs is a list, not 'a'"),
        ({"other": 1}, "and nothing else"),
        ({"config": None}, "has no config"),
        ({"variants": {"a": {"needs": ["b"]}}}, "a needs b, which is no variant"),
        ({"variants": {"a": {"needs": ["a"]}}}, "no variant can be the first where a needs a"),
        (
            {"variants": {"a": {"needs": ["b"]}, "b": {"needs": ["c"]}, "c": {"needs": ["b"]}}},
            "first where (b needs c needs b|c needs b needs c)",
        ),
        ({"variants": {"a": {"option": {}}}}, "a variant has config"),
    ):
        with pytest.raises(InputError, match=said):
            read_sweep(write(**changes))
    with pytest.raises(InputError, match="there is no sweep file"):
        read_sweep(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [", "is no YAML"),
        (b"a: \xff", "is no UTF-8"),
        (b"a: " + b"[" * 3_000, "nested too deeply"),
        (b"folder: !!bool maybe", "is no YAML"),
        (b"seeds: [1]\nseeds: [2]", "the key 'seeds' is there twice"),
        (b"variants: {a: {}, a: {}}", "the key 'a' is there twice"),
        (b"- 1", "holds no names with values"),
    ],
)
def test_sweep_files_that_are_none_are_one_line(tmp_path, content, said):
    (tmp_path / "broken.yaml").write_bytes(content)
    with pytest.raises(InputError, match=said) as found:
        read_sweep(tmp_path / "broken.yaml")
    assert str(found.value).startswith(str(tmp_path / "broken.yaml")) and "\n" not in str(found.value)


@pytest.mark.parametrize(
    "name",
    [
        *["../c", "", "a/b", "/tmp", ".", "..", "a\0b", "a\n", " a", "a{run}", "${HOME}", "\ud800"],
        *["tests", "table.md", "a" * 201],
    ],
)
def test_a_variant_never_leaves_the_sweeps_folder(write, name):
    with pytest.raises(InputError, match="is no name of a variant") as found:
        read_sweep(write(variants={"a": {}, name: {}}))
    assert "\n" not in str(found.value)


def test_names_that_become_one_are_two_variants(write):
    path = write(variants={3: {}, "b": {}})
    assert [cell.variant for cell in read_sweep(path)[:2]] == ["3", "b"]
    path.write_text(path.read_text() + "  '3': {}\n")
    with pytest.raises(InputError, match="there are two variants '3'"):
        read_sweep(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": {"x": date(2020, 1, 1)}}, r"option x: datetime.date\(2020, 1, 1\) is no text"),
        ({"options": {"x": [date(2020, 1, 1)]}}, "what YAML takes for a date needs quotes"),
        ({"options": {"x": b"1"}}, r"option x: b'1' is no text"),
        ({"options": {"x": float("nan")}}, "option x: nan is no text, finite number"),
        ({"options": {3: 1}}, "the option 3 is no text"),
        ({"options": {"x": "a\0b"}}, "holds a character that no command takes"),
        ({"options": {"x": "\ud800"}}, "holds a character that no command takes"),
        ({"config": "a\0b"}, "holds a character that no command takes"),
        ({"folder": "a\0b"}, "holds a character that no command takes"),
        ({"folder": "runs/{seed}"}, "is no folder: all of its runs go into one"),
        ({"folder": "${EMPTY}"}, "is no folder"),
        ({"steps": ["fit", None]}, "a step is a text, not None"),
        ({"steps": ["fit", {"test": 1}]}, "a step is a text, not {'test': 1}"),
        ({"steps": ["fit \0"]}, "holds a character that no command takes"),
        ({"seeds": [-1]}, "a seed is a whole number from 0 to 4294967295"),
        ({"seeds": [2**32]}, "a seed is a whole number from 0 to 4294967295"),
        ({"seeds": [True]}, "a seed is a whole number"),
        ({"variants": {"a": 0}}, "a variant has config"),
        ({"variants": {"a": {"needs": ["../a"]}}}, r"a needs \.\./a, which is no variant"),
    ],
)
def test_values_that_no_command_takes_are_one_line(write, changes, said, monkeypatch):
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(InputError, match=said) as found:
        read_sweep(write(**changes))
    assert "\n" not in str(found.value)


def test_a_place_in_a_folder_s_name_is_no_place(write, monkeypatch, tmp_path):
    """What the environment names is put in as it is."""
    monkeypatch.setenv("PLACE", str(tmp_path / "{seed} of ${PLACE}"))
    path = write(folder="${PLACE}", seeds=[1], options={"data.root": "{run}"})
    cell = read_sweep(path)[0]
    assert f"--data.root={cell.folder}" in cell.commands[0] and "{seed} of" in str(cell.folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is no JSON"),
        (b"[]", "holds no names with values"),
        (b"{}", "it has none of"),
        (b'{"accuracy": {}}', "is missing"),
        (b"[" * 100_000, "nested too deeply"),
        (b"\xff", "is no UTF-8"),
        (None, "NaN is no number in JSON"),
    ],
)
def test_damaged_results_of_a_done_cell_are_named_and_the_others_have_their_row(write, capsys, content, said):
    path = write(seeds=[1])
    assert sweep(path) == 0
    file = write.folder / "first" / "1" / "results.json"
    file.write_bytes(file.read_bytes().replace(b"0.25", b"NaN") if content is None else content)
    capsys.readouterr()
    assert sweep(path) == 1
    printed = capsys.readouterr().out
    assert "first, seed 1: left out of the table" in printed and said in printed and str(file) in printed
    assert "| second |" in printed and "| first |" not in printed and "nan" not in printed
    assert "| second |" in (write.folder / "table.md").read_text()
    with pytest.raises(InputError, match=r"first/1/results\.json is no results file"):
        sweep_table(read_sweep(path))


def test_a_mark_or_a_lock_that_is_damaged_is_one_line(write):
    path = write(seeds=[1])
    assert sweep(path) == 0
    cell = write.folder / "first" / "1"
    (cell / ".done-0").write_bytes(b"\xff\0")
    with pytest.raises(InputError, match="has changed since"):
        sweep(path)
    (cell / ".done-0").unlink()
    (cell / ".lock").unlink()
    (cell / ".lock").mkdir()
    with pytest.raises(InputError, match=r"first/1/\.lock cannot be written to: Is a directory"):
        sweep(path)


@pytest.mark.slow
def test_on_the_command_line_with_the_real_program(tmp_path, monkeypatch, tiny_classifier, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = {
        "model.teacher.name": str(tiny_classifier(10)),
        "model.judge_phase.epochs": 1,
        "model.student_phase.epochs": 1,
    }
    wanted = {
        "folder": "sweep",
        "config": "quickstart.yaml",
        "seeds": [3],
        "options": options,
        "variants": {"tiny": None},
    }
    wanted["steps"] = ["fit", "calibrate --target lm_rate=0.5", "test --config {run}/calibrated.yaml"]
    Path("sweep.yaml").write_text(yaml.safe_dump(wanted))
    main(["sweep", "sweep.yaml", "--list"])
    assert capsys.readouterr().out.count("&&") == 2
    main(["sweep", "sweep.yaml"])
    printed = capsys.readouterr().out
    assert "| tiny |" in printed and "1 of 1 cells are done" in printed
    assert (tmp_path / "sweep" / "tiny" / "3" / "results.json").is_file()


def test_cells_without_results_have_no_row(tmp_path):
    assert sweep_table([Cell("a", 0, tmp_path, [["fit"]])]) == (["variant, %", "runs"], [])
