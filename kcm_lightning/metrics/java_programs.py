"""COCO's tokenizer and METEOR, Java programs of pycocoevalcap, run so that none is waited for in vain."""

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from kcm_lightning.utils.errors import InputError

_MEMORY = "-Xmx2G"
_PATIENCE = 300.0  # seconds beyond what the number of captions explains
_A_CAPTION = 0.1  # seconds that one takes at most


def has_java() -> bool:
    """Whether COCO's tokenizer and METEOR can run."""
    path = shutil.which("java")
    return path is not None and _fault_of(path) is None


@cache
def _fault_of(java: str) -> str | None:
    """Why a Java does not run; None where it does."""
    try:
        run = subprocess.run(
            [java, _MEMORY, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{java} does not start ({error})"
    return f"{java} fails ({_last_words(run.stderr or run.stdout)})" if run.returncode else None


def require_java(otherwise: str) -> None:
    """Refuses to go on without Java.

    Args:
        otherwise: what can be done without.

    Raises:
        InputError: there is no Java, or it does not run.
    """
    path = shutil.which("java")
    fault = "" if path is None else _fault_of(path)
    if fault is not None:
        why = fault and f", and {fault}"
        raise InputError(f"COCO's tokenizer and METEOR need Java{why}: install a JRE, or set {otherwise}")


def ptb_tokenize(sentences: Sequence[str]) -> list[str]:
    """Sentences by Stanford's PTB tokenizer, in lower case and without punctuation, as COCO scores them.

    Args:
        sentences: without line breaks.

    Raises:
        InputError: the tokenizer fails.
    """
    from pycocoevalcap.tokenizer import ptbtokenizer as coco

    command = ["java", "-cp", coco.STANFORD_CORENLP_3_4_1_JAR, "edu.stanford.nlp.process.PTBTokenizer"]
    command += ["-preserveLines", "-lowerCase"]
    try:
        run = subprocess.run(
            command,
            cwd=Path(coco.__file__).parent,  # so that no blank or colon in its path matters
            input="\n".join(sentences).encode("utf-8", "replace"),
            capture_output=True,
            timeout=_limit(len(sentences)),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"COCO's tokenizer cannot run: {error}") from error
    lines = run.stdout.decode("utf-8", "replace").split("\n")[: len(sentences)]
    if run.returncode or len(lines) < len(sentences):
        raise InputError(f"COCO's tokenizer fails: {_last_words(run.stderr)}")
    left_out = set(coco.PUNCTUATIONS)
    return [" ".join(word for word in line.rstrip().split(" ") if word not in left_out) for line in lines]


class Meteor:
    """METEOR 1.5, one process for the captions of several systems; a context that ends the process.

    pycocoevalcap's own wrapper waits for ever where Java fails, and fails where its path has a blank.
    """

    def __init__(self) -> None:
        from pycocoevalcap.meteor import meteor as coco

        # METEOR does not find its paraphrases itself where its path has a blank
        options = ["-", "-", "-stdio", "-l", "en", "-norm", "-a", "data/paraphrase-en.gz"]
        command = ["java", "-jar", _MEMORY, coco.METEOR_JAR, *options]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed when the context ends
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                cwd=Path(coco.__file__).parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        except OSError as error:
            raise InputError(f"METEOR cannot run: {error}") from error

    def __enter__(self) -> "Meteor":
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def score(self, given: Mapping[int, Sequence[str]], said: Mapping[int, Sequence[str]]) -> float:
        """METEOR of a corpus.

        Args:
            given: tokenized captions that people gave each image.
            said: one tokenized caption an image.

        Raises:
            InputError: it fails, or takes far too long.
        """
        watch = threading.Timer(_limit(len(said)), self._process.kill)
        watch.start()
        try:
            statistics = [self._ask(_question(given[image], said[image][0])) for image in said]
            self._send(" ||| ".join(["EVAL", *statistics]))
            values = [float(self._line()) for _ in range(len(said) + 1)]  # each image's, then the corpus's
        except (OSError, ValueError) as error:
            self._process.kill()
            self._process.wait()
            self._errors.seek(0)
            words = _last_words(self._errors.read()) or "it said nothing"
            raise InputError(f"METEOR fails: {words}") from error
        finally:
            watch.cancel()
        return values[-1]

    def _ask(self, line: str) -> str:
        self._send(line)
        return self._line()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode("utf-8", "replace"))
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ValueError("it has ended")
        return line.decode("utf-8", "replace").strip()


def _question(references: Sequence[str], caption: str) -> str:
    clean = [own.replace("|||", "") for own in references]
    return " ||| ".join(["SCORE", *clean, caption.replace("|||", "").replace("  ", " ")])


def _limit(captions: int) -> float:
    return _PATIENCE + _A_CAPTION * captions


def _last_words(output: bytes) -> str:
    """The lines of a program's errors that say what is wrong: the first and the last."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return " ... ".join(dict.fromkeys(line[:200] for line in (lines[:1] + lines[-1:])))
