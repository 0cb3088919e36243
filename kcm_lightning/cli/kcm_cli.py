"""LightningCLI with run folders: `fit`, `validate`, `test`, `predict` and `calibrate`."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from lightning import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from kcm_lightning.calibrate import KCMTrainer
from kcm_lightning.callbacks import CaptionExamples, ConfidenceHistogram, RunCheckpoint, RunCheckpointIO
from kcm_lightning.cli.parser import one_line
from kcm_lightning.cli.run_folder import RunFolder
from kcm_lightning.module import KCMCaptions, KCMModule, SequentialTraining
from kcm_lightning.results import (
    CaptionResultsWriter,
    ResultsWriter,
    SequentialResultsWriter,
    print_usage,
    usage_of,
)
from kcm_lightning.utils.errors import InputError


class SaveFitConfig(SaveConfigCallback):
    """Saves the resolved configuration with a run when it is trained, not when it is tested."""

    def __init__(self, parser: Any, config: Any, **kwargs: Any):
        config = config.clone()
        config.ckpt_path = config.run = None  # a saved configuration starts a run of its own
        super().__init__(parser, config, **kwargs)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if stage == "fit":
            super().setup(trainer, pl_module, stage)


class KCMCLI(LightningCLI):
    """LightningCLI with run folders: a fresh `fit` makes one, every other command finds the newest."""

    trainer: KCMTrainer

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return LightningCLI.subcommands() | {"calibrate": {"model", "datamodule"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run", type=str | None, help="run folder; by default runs/<configuration>/<number>"
        )

    def _parse_ckpt_path(self) -> None:
        """Does nothing: hyper-parameters in a checkpoint never beat the command line."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        files = [Path(str(path)) for path in config.get("config") or []]
        folder = RunFolder(files[0] if files else None, config.run)
        wanted = config.ckpt_path or (None if self.subcommand == "fit" else "best")
        rank: int = rank_zero_only.rank  # type: ignore[attr-defined]  # a function that carries it
        writes = rank == 0 and not config.trainer.fast_dev_run  # the first process alone
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
            raise InputError(
                f"--ckpt_path: {ckpt_path!r} lies in no run folder: name the folder for results with --run"
            )
        return path.parent.parent

    def _fresh(self, folder: RunFolder, make: bool) -> Path:
        """A new run's folder; the processes that a strategy starts take that of the first one."""
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
        if given["plugins"] is None:
            kwargs["plugins"] = [RunCheckpointIO()]
        self._check_trainer(given)
        self._dump_config()
        callbacks = [*(given["callbacks"] or []), *self._callbacks()]
        return cast(KCMTrainer, super().instantiate_trainer(callbacks=callbacks, **kwargs))

    def _check_trainer(self, given: Any) -> None:
        """Refuses options of the trainer that the module cannot keep to."""
        manual = not self.model.automatic_optimization
        if manual and (given["gradient_clip_val"] or given["accumulate_grad_batches"] > 1):
            raise InputError(
                "the module makes its own steps: set --trainer.gradient_clip_val=null and "
                "accumulate_grad_batches=1"
            )
        if self.subcommand == "fit" and given["val_check_interval"] not in (None, 1):
            raise InputError(
                "checkpoints are of the end of an epoch: leave --trainer.val_check_interval alone"
            )
        if self.subcommand == "predict" and not isinstance(self.model, KCMModule):
            raise InputError("predict needs a KCMModule: this configuration trains one model alone")

    def _callbacks(self) -> list[Callback]:
        """What keeps checkpoints, and what writes and draws the module's kind of results."""
        callbacks: list[Callback] = []
        if self.subcommand == "fit":
            # from the end of an epoch a run can be resumed; Lightning would take checkpoints at a validation,
            # where not every epoch has one
            checkpoint = partial(
                RunCheckpoint,
                dirpath=self.folder / "checkpoints",
                enable_version_counter=False,
                save_on_train_epoch_end=True,
            )
            # two of them: `save_last` would only write when a new best is found
            callbacks.append(checkpoint(filename="best", monitor="selection", mode="max"))
            callbacks.append(checkpoint(filename="last"))
        if isinstance(self.model, KCMCaptions):
            callbacks += [CaptionResultsWriter(self.folder, self.config_dump), CaptionExamples()]
        elif isinstance(self.model, KCMModule):
            callbacks += [ResultsWriter(self.folder, self.config_dump), ConfidenceHistogram()]
        elif isinstance(self.model, SequentialTraining):
            callbacks.append(SequentialResultsWriter(self.folder, self.config_dump))
        return callbacks

    def after_instantiate_classes(self) -> None:
        if self.subcommand == "fit" and self.trainer.logger is not None and not self.trainer.fast_dev_run:
            shown = {key: self.config_dump[key] for key in ("seed_everything", "model", "data")}
            self.trainer.logger.log_hyperparams(shown)

    def after_fit(self) -> None:
        usage = usage_of(self.model.teacher) if isinstance(self.model, KCMModule) else {}
        if not self.trainer.is_global_zero:
            return
        print_usage(usage)
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
