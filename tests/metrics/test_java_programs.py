"""COCO's Java programs: the reference wrappers' results, and a line where Java fails, soon."""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from kcm_lightning.metrics import java_programs
from kcm_lightning.metrics.caption_scores import CaptionScores, score_captions
from kcm_lightning.metrics.java_programs import Meteor, has_java, ptb_tokenize, require_java
from kcm_lightning.utils.errors import InputError

needs_java = pytest.mark.skipif(not has_java(), reason="no Java")
ODD = [
    "",
    "A dog's (big) ``ball''... runs!",
    "caf\u00e9 \u4e2d\u6587 \u00bd",
    "a | b ||| c",
    "\U0001f600",
    "-LRB- x",
]


@needs_java
def test_tokenizer_gives_what_cocos_own_wrapper_gives():
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    wanted = PTBTokenizer().tokenize({row: [{"caption": text}] for row, text in enumerate(ODD)})
    assert ptb_tokenize(ODD) == [wanted[row][0] for row in range(len(ODD))]


@needs_java
@pytest.mark.slow
def test_meteor_runs_in_a_folder_with_blanks_and_gives_what_cocos_own_wrapper_gives(tmp_path, monkeypatch):
    from pycocoevalcap.meteor import meteor as coco

    said = {0: ["a dog runs in grass"], 1: ["two men"], 2: [""], 3: ["a ||| b"]}
    given = {row: ["a brown dog is running over grass", "two men play"] for row in said}
    wanted, _ = coco.Meteor().compute_score(given, said)
    folder = tmp_path / "my environment \u00e9"
    folder.mkdir()
    shutil.copy(Path(coco.__file__).parent / "meteor-1.5.jar", folder)  # Java looks behind a link
    (folder / "data").symlink_to(Path(coco.__file__).parent / "data")
    monkeypatch.setattr(coco, "__file__", str(folder / "meteor.py"))
    with Meteor() as program:
        assert program.score(given, said) == pytest.approx(wanted, abs=1e-12)
        assert program.score(given, said) == pytest.approx(wanted, abs=1e-12)  # another system's captions


def a_java(folder, script: str, monkeypatch) -> None:
    """Puts a program called java before any other."""
    folder.mkdir(exist_ok=True)
    path = folder / "java"
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


FAILS = "print('no runtime is installed', file=sys.stderr); sys.exit(1)"
DIES = "if '-version' in sys.argv: sys.exit(0)\nprint('out of memory', file=sys.stderr); sys.exit(3)"
ENDS_LATE = (
    "if '-version' in sys.argv: sys.exit(0)\nsys.stdin.readline(); print('1.0', flush=True); sys.exit(1)"
)
BABBLES = "if '-version' in sys.argv: sys.exit(0)\nfor line in sys.stdin: print('hello', flush=True)"
HANGS = "if '-version' in sys.argv: sys.exit(0)\ntime.sleep(60)"


def test_a_java_that_fails_is_said_before_anything_is_scored(tmp_path, monkeypatch):
    a_java(tmp_path / "bin", FAILS, monkeypatch)
    assert not has_java()
    with pytest.raises(
        InputError, match=r"need Java, and .*java fails \(no runtime is installed\): install a JRE"
    ):
        require_java("meteor=false")
    with pytest.raises(InputError, match="need Java"):
        CaptionScores()
    assert score_captions(["a cat"], [["a cat"]], "words", meteor=False)["ROUGE-L"] == 1


@pytest.mark.parametrize("script", [DIES, ENDS_LATE, BABBLES, HANGS])
def test_a_java_that_breaks_off_is_one_line_and_no_wait(script, tmp_path, monkeypatch):
    a_java(tmp_path / "bin", script, monkeypatch)
    monkeypatch.setattr(java_programs, "_PATIENCE", 1.0)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"METEOR fails: (out of memory|it said nothing)") as error:
        score_captions(["a cat", "a dog"], [["a cat"], ["the dog"]], "words", meteor=True)
    assert "\n" not in str(error.value) and time.monotonic() - start < 30


@pytest.mark.parametrize("script", [DIES, HANGS, ""])
def test_a_tokenizer_that_breaks_off_is_one_line(script, tmp_path, monkeypatch):
    a_java(tmp_path / "bin", script, monkeypatch)
    monkeypatch.setattr(java_programs, "_PATIENCE", 1.0)
    with pytest.raises(InputError, match=r"COCO's tokenizer (fails|cannot run)"):
        ptb_tokenize(["a cat", "a dog"])


def test_no_java_at_all_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("java") is None and not has_java()
    with pytest.raises(InputError, match="need Java: install a JRE, or set meteor=false"):
        require_java("meteor=false")
