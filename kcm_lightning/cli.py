"""The command line: `python -m kcm_lightning COMMAND --config ...`, `report FOLDER ...` and `sweep FILE`."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from kcm_lightning.calibrate import KCMTrainer
from kcm_lightning.callbacks import CaptionExamples, ConfidenceHistogram, RunCheckpoint, RunCheckpointIO
from kcm_lightning.errors import InputError
from kcm_lightning.module import KCMModule, SequentialTraining
from kcm_lightning.parsing import OneLineParser, find_configs, one_line, read_none_as_null
from kcm_lightning.process import keep_memory, quiet
from kcm_lightning.report import report
from kcm_lightning.results import CaptionResultsWriter, ResultsWriter, SequentialResultsWriter, say_usage, usage_of
from kcm_lightning.run_folder import RunFolder
from kcm_lightning.sweep import commands, sweep


class SaveFitConfig(SaveConfigCallback):
    """Saves the resolved configuration with a run when it is trained, not when it is tested."""

    def __init__(self, parser, config, **kwargs):
        config = config.clone()
        config.ckpt_path = config.run = None  # a saved configuration starts a run of its own
        super().__init__(parser, config, **kwargs)

    def setup(self, trainer, pl_module, stage: str) -> None:
        if stage == "fit":
            super().setup(trainer, pl_module, stage)


class KCMCLI(LightningCLI):
    """LightningCLI with run folders: a fresh `fit` makes one, every other command finds the newest."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return LightningCLI.subcommands() | {"calibrate": {"model", "datamodule"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--run", type=str | None, help="run folder; by default runs/<configuration>/<number>")

    def _parse_ckpt_path(self) -> None:
        """Does nothing: hyper-parameters in a checkpoint never beat the command line."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        files = [Path(str(path)) for path in config.get("config") or []]
        folder = RunFolder(files[0] if files else None, config.run)
        wanted = config.ckpt_path or (None if self.subcommand == "fit" else "best")
        writes = rank_zero_only.rank == 0 and not config.trainer.fast_dev_run  # the first process alone
        if wanted is None:
            self.folder = self._fresh(folder, make=writes)
        elif wanted in ("best", "last"):
            self.folder = folder.existing(f"{wanted}.ckpt", newest_only=self.subcommand == "fit")
            config.ckpt_path = str(self.folder / "checkpoints" / f"{wanted}.ckpt")
        else:
            self.folder = Path(config.run) if config.run else self._folder_of(config.ckpt_path)
        if self.subcommand == "test" and "FineTune" not in config.model.class_path:
            config.verbose = False  # our own table says it all
        if writes:
            _check_writable(self.folder)

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:  # jsonargparse wraps what a constructor says
            if isinstance(error, InputError):
                raise
            raise InputError(one_line(str(error))) from error

    def _folder_of(self, ckpt_path: str) -> Path:
        path = Path(ckpt_path).resolve()
        if not path.is_file():
            raise InputError(f"--ckpt_path: there is no file {ckpt_path!r}")
        if path.parent.name != "checkpoints":
            raise InputError(f"--ckpt_path: {ckpt_path!r} lies in no run folder: name the folder for results with --run")
        return path.parent.parent

    def _fresh(self, folder: RunFolder, make: bool) -> Path:
        """A new run's folder; the processes that a strategy starts take that of the first."""
        if os.environ.get("LOCAL_RANK", "0") != "0" and "KCM_RUN_FOLDER" in os.environ:
            return Path(os.environ["KCM_RUN_FOLDER"])
        try:
            path = folder.fresh(make)
        except OSError as error:
            raise InputError(f"a run folder in {folder.family} cannot be made: {error.strerror}") from error
        os.environ["KCM_RUN_FOLDER"] = str(path)
        return path

    def instantiate_trainer(self, **kwargs: Any) -> KCMTrainer:
        given = self._get(self.config_init, "trainer")
        kwargs["default_root_dir"] = str(self.folder)
        if self.subcommand != "fit":
            kwargs |= {"logger": False, "enable_checkpointing": False}  # there is nothing to save
        elif given["logger"] in (None, True):
            kwargs["logger"] = TensorBoardLogger(self.folder, name="", version="")
        # judge and student take turns, so that one of them has no gradients
        if given["strategy"] == "ddp" or (given["strategy"] == "auto" and _several(given)):
            kwargs["strategy"] = "ddp_find_unused_parameters_true"
        if given["max_epochs"] is None and self.subcommand == "fit":
            kwargs["max_epochs"] = self.model.total_epochs
        if not self.model.automatic_optimization and (given["gradient_clip_val"] or given["accumulate_grad_batches"] > 1):
            raise InputError("the module makes its own steps: set --trainer.gradient_clip_val=null and accumulate_grad_batches=1")
        callbacks = list(given["callbacks"] or [])
        if self.subcommand == "fit":
            if given["val_check_interval"] not in (None, 1):
                raise InputError("checkpoints are of the end of an epoch: leave --trainer.val_check_interval alone")
            # from there a run can be resumed; Lightning would take them at a validation, where not every epoch has one
            options = {"dirpath": self.folder / "checkpoints", "enable_version_counter": False, "save_on_train_epoch_end": True}
            # two of them: `save_last` would only write when a new best is found
            callbacks.append(RunCheckpoint(filename="best", monitor="selection", mode="max", **options))
            callbacks.append(RunCheckpoint(filename="last", **options))
        if given["plugins"] is None:
            kwargs["plugins"] = [RunCheckpointIO()]
        self._dump_config()
        if isinstance(self.model, KCMModule):
            captions = self.model.captions
            writer = CaptionResultsWriter if captions else ResultsWriter
            callbacks += [writer(self.folder, self.config_dump), CaptionExamples() if captions else ConfidenceHistogram()]
        elif isinstance(self.model, SequentialTraining):
            callbacks.append(SequentialResultsWriter(self.folder, self.config_dump))
        if self.subcommand == "predict" and not isinstance(self.model, KCMModule):
            raise InputError("predict needs a KCMModule: this configuration trains one model alone")
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)

    def after_instantiate_classes(self) -> None:
        if self.subcommand == "fit" and self.trainer.logger is not None and not self.trainer.fast_dev_run:
            shown = {key: self.config_dump[key] for key in ("seed_everything", "model", "data")}
            self.trainer.logger.log_hyperparams(shown)

    def after_fit(self) -> None:
        usage = usage_of(self.model.teacher) if isinstance(self.model, KCMModule) else {}
        if not self.trainer.is_global_zero:
            return
        say_usage(usage)
        if not self.trainer.fast_dev_run:
            print(f"run: {self.folder}\nTensorBoard: tensorboard --logdir {self.folder}")


def _several(trainer: Mapping[str, Any]) -> bool:
    """Whether a trainer's options are of several processes."""
    devices = trainer["devices"]
    if devices in ("auto", -1, "-1"):
        count = torch.cuda.device_count() if trainer["accelerator"] != "cpu" else 1
    elif isinstance(devices, str):
        count = len([one for one in devices.split(",") if one]) if "," in devices else int(devices)
    else:
        count = devices if isinstance(devices, int) else len(devices)
    return count * trainer["num_nodes"] > 1


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"the run folder {folder} cannot be written to: {error.strerror}") from error


def _report(words: list[str]) -> str:
    parser = OneLineParser(prog="python -m kcm_lightning report", description=report.__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", help="run folders, or folders that hold some at any depth")
    parser.add_argument("--format", type=Literal["markdown", "csv", "latex"], default="markdown")
    parser.add_argument("--by", type=Literal["table", "variant"], default="table", help="the paper's tables, or a row a variant")
    options = parser.parse_args(words)
    return report(options.folders, options.format, options.by)


def _sweep(words: list[str]) -> int:
    parser = OneLineParser(prog="python -m kcm_lightning sweep", description=sweep.__doc__.splitlines()[0])
    parser.add_argument("file", help="YAML of the sweep")
    parser.add_argument("--cell", type=int | None, help="run this cell alone, counted from 0, and those that it needs")
    parser.add_argument("--list", action="store_true", help="print each cell's commands as one line, and run nothing")
    options = parser.parse_args(words)
    if options.list:
        print(commands(Path(options.file)), end="")
        return 0
    try:
        return int(sweep(Path(options.file), options.cell) > 0)
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        return 130


def main(args: list[str] | None = None) -> None:
    """Runs a command.

    Args:
        args: the words after the program's name; those of the process by default.
    """
    keep_memory()
    quiet()
    read_none_as_null()
    try:
        words = find_configs(sys.argv[1:] if args is None else args)
        if words[:1] == ["report"]:
            print(_report(words[1:]), end="")
            return
        if words[:1] == ["sweep"]:
            if status := _sweep(words[1:]):
                sys.exit(status)
            return
        sys.argv[1:] = words
        KCMCLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_class=KCMTrainer,
            parser_class=OneLineParser,
            trainer_defaults={"use_distributed_sampler": False, "reload_dataloaders_every_n_epochs": 1},
            save_config_callback=SaveFitConfig,
            save_config_kwargs={"overwrite": True},
            seed_everything_default=0,
            auto_configure_optimizers=False,
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SIGTERMException:  # of itself it would end as a success
        sys.exit(128 + signal.SIGTERM)
