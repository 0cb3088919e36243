"""Where a run lives: how its folder is named, claimed by one `fit` at a time, and found again."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import TextIO

from kcm_lightning.utils.console import say
from kcm_lightning.utils.errors import InputError

RUNS = Path("runs")
_LOCK = ".fit.lock"  # held by the `fit` that is at work; a sweep has a lock of its own
# what a `fit` that was stopped before its first checkpoint may have left
_BEFORE_TRAINING = {_LOCK, "config.yaml", "fit.json", "data.json", "hparams.yaml", "sweep.log", ".lock"}


class RunFolder:
    """A run's folder, `runs/<configuration>/<number>` unless it is named.

    Args:
        config: the first configuration file of the command, which names the run; a run's own `config.yaml`
            stands for that run.
        folder: the folder, where the user names it.
        root: folder of all runs.
    """

    def __init__(self, config: Path | None, folder: str | None = None, root: Path = RUNS):
        self.named = folder is not None
        self.path: Path | None
        if folder is not None:
            self.path, self.family = Path(folder), Path(folder).parent
        elif config is not None and config.name == "config.yaml" and _is_run(config.parent):
            self.path, self.family = config.parent, config.parent.parent
        else:
            self.path, self.family = None, root / (config.stem if config else "default")

    def fresh(self, make: bool = True) -> Path:
        """A folder for a new run, which never is that of an earlier one.

        Args:
            make: make it at once where it was not named, so that no `fit` that is started together takes it
                too.

        Raises:
            InputError: the folder that was named holds a run or results.
        """
        if self.named and self.path is not None:
            self.check_unused(self.path)
            return self.path
        while True:
            path = self.family / str(max(self._numbers(), default=-1) + 1)
            try:
                if make:
                    path.mkdir(parents=True)
            except FileExistsError:
                continue
            return path

    def existing(self, checkpoint: str) -> Path:
        """The folder of the run that has a checkpoint, the newest one unless it was named.

        Args:
            checkpoint: file name of the checkpoint.

        Raises:
            InputError: there is no such run.
        """
        numbers = sorted(self._numbers(), reverse=True)
        candidates = [self.path] if self.path else [self.family / str(number) for number in numbers]
        newer: list[Path] = []
        for path in candidates:
            if (path / "checkpoints" / checkpoint).is_file():
                if newer:
                    say(f"note: {newer[0]} has no checkpoint {checkpoint}: taking {path}")
                elif self.path is None:
                    others = sum(map(has_started, candidates)) - 1
                    say(f"run: {path}" + (f", the newest of {others + 1}" if others else ""))
                return path
            if has_started(path):
                newer.append(path)
        raise InputError(
            f"there is no checkpoint {checkpoint} in {self.path or self.family}: run `fit` first, or name "
            "one with --ckpt_path"
        )

    @staticmethod
    def check_unused(path: Path) -> None:
        """Refuses a folder for a new run that holds one.

        Raises:
            InputError: it holds a run, results, or files of something else.
        """
        if (path / "checkpoints").exists():
            raise InputError(
                f"{path} already holds a run: resume it with --ckpt_path last, or name another --run"
            )
        if (path / "results.json").exists():
            raise InputError(f"{path} already holds results of another run: name another --run")
        if path.is_dir() and (others := _not_of_a_fit(path)):
            raise InputError(
                f"{path} already holds {others[0]}, which is of no run: name an empty or a new folder "
                "with --run"
            )

    def _numbers(self) -> list[int]:
        folders = self.family.glob("*") if self.family.is_dir() else ()
        return [int(folder.name) for folder in folders if folder.name.isdigit()]


class Claim:
    """A run folder that this `fit` alone writes to, until its process ends.

    Args:
        folder: the run folder; made where missing.

    Raises:
        InputError: another `fit` is at work in it, or it cannot be written to.
    """

    def __init__(self, folder: Path):
        # an empty folder with a number is the one that has just been made for this run
        numbered = folder.is_dir() and folder.name.isdigit() and not any(folder.iterdir())
        self.folder, self.made = folder, numbered or not folder.is_dir()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock: TextIO = (folder / _LOCK).open("a")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another fit is at work in {folder}: wait for it, or name another --run"
            ) from error
        except OSError as error:
            raise InputError(f"the run folder {folder} cannot be written to: {error.strerror}") from error

    def give_back(self) -> None:
        """Lets others write to it; where this `fit` made it and has not started to train, removes it."""
        self._lock.close()
        if self.made and not has_started(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)


def _not_of_a_fit(folder: Path) -> list[str]:
    """Files that no `fit` has left which was stopped before it trained."""
    # a sweep's marks, which are there before its `fit`, are of no other work
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith((".begun-", ".done-")))
    if _LOCK not in names:
        return [name for name in names if name not in (".lock", "sweep.log")]
    return [name for name in names if name not in _BEFORE_TRAINING and not name.startswith("events.")]


def _is_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("checkpoints", "fit.json", _LOCK))


def has_started(folder: Path) -> bool:
    """Whether the training of a run has started."""
    return (folder / "config.yaml").is_file() or (folder / "checkpoints").is_dir()


def check_writable(folder: Path) -> None:
    """Makes a folder where missing.

    Raises:
        InputError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"the run folder {folder} cannot be written to: {error.strerror}") from error
