"""Where a run lives: how its folder is named, and how an earlier one is found."""

from pathlib import Path

from kcm_lightning.utils.errors import InputError

RUNS = Path("runs")


class RunFolder:
    """A run's folder, `runs/<configuration>/<number>` unless it is named.

    Args:
        config: the first configuration file of the command, which names the run; a run's own `config.yaml`
            stands for that run.
        folder: the folder, where the user names it.
    """

    def __init__(self, config: Path | None, folder: str | None = None):
        self.named = folder is not None
        self.path: Path | None
        if folder is not None:
            self.path, self.family = Path(folder), Path(folder).parent
        elif config is not None and config.name == "config.yaml" and (config.parent / "checkpoints").is_dir():
            self.path, self.family = config.parent, config.parent.parent
        else:
            self.path, self.family = None, RUNS / (config.stem if config else "default")

    def fresh(self, make: bool = True) -> Path:
        """A folder for a new run, which never is that of an earlier one.

        Args:
            make: make it at once where it was not named, so that no `fit` that is started together takes it
                too.
        """
        if self.named and self.path is not None:
            if (self.path / "checkpoints").exists():
                raise InputError(
                    f"{self.path} already holds a run: resume it with --ckpt_path last, or name another --run"
                )
            return self.path
        while True:
            path = self.family / str(max(self._numbers(), default=-1) + 1)
            try:
                if make:
                    path.mkdir(parents=True)
            except FileExistsError:
                continue
            return path

    def existing(self, checkpoint: str, newest_only: bool = False) -> Path:
        """The folder of the run that has a checkpoint, the newest one unless it was named.

        Args:
            checkpoint: file name of the checkpoint.
            newest_only: whether only the newest run counts, with a checkpoint or without.

        Raises:
            InputError: there is no such run.
        """
        numbers = sorted(self._numbers(), reverse=True)
        candidates = [self.path] if self.path else [self.family / str(number) for number in numbers]
        for path in candidates[:1] if newest_only else candidates:
            if (path / "checkpoints" / checkpoint).is_file():
                return path
        where = candidates[0] if newest_only and candidates else self.path or self.family
        raise InputError(
            f"there is no checkpoint {checkpoint} in {where}: run `fit` first, or name one with --ckpt_path"
        )

    def _numbers(self) -> list[int]:
        folders = self.family.glob("*") if self.family.is_dir() else ()
        return [int(folder.name) for folder in folders if folder.name.isdigit()]
