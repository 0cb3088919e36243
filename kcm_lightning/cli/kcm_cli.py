"""LightningCLI with run folders: `fit`, `validate`, `test`, `predict` and `calibrate`."""

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from lightning import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from kcm_lightning.calibrate import KCMTrainer
from kcm_lightning.callbacks import (
    CaptionExamples,
    ConfidenceHistogram,
    ConsoleProgress,
    FitProgress,
    RunCheckpoint,
    RunCheckpointIO,
    not_done,
)
from kcm_lightning.cli.end_of_fit import print_end_of_fit
from kcm_lightning.cli.option_errors import one_line
from kcm_lightning.cli.parser import OneLineErrors, read_whole_numbers_first
from kcm_lightning.cli.run_folder import RUNS, Claim, RunFolder, check_writable
from kcm_lightning.cli.tensorboard import log_options, tensorboard_pages
from kcm_lightning.cli.trainer_options import callbacks_of, check_trainer, overfitting
from kcm_lightning.module import KCMCaptions, KCMModule, SequentialTraining
from kcm_lightning.results import (
    BillOfStopped,
    CaptionResultsWriter,
    ResultsWriter,
    SequentialResultsWriter,
    print_usage,
    usage_of,
)
from kcm_lightning.results.fit_options import check_options
from kcm_lightning.results.fit_record import check_large_model
from kcm_lightning.results.provenance import identity_of
from kcm_lightning.utils.console import say
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.files import write_text


class KCMParser(OneLineErrors, LightningArgumentParser):
    """Lightning's parser, with errors of one line, and numbers of batches that are whole."""

    def add_lightning_class_args(self, *args: Any, **kwargs: Any) -> list[str]:
        names = super().add_lightning_class_args(*args, **kwargs)
        read_whole_numbers_first(self)
        return names


class SaveFitConfig(SaveConfigCallback):
    """Saves the resolved configuration in the run folder, whatever the loggers, once training starts."""

    def __init__(self, parser: Any, config: Any, **kwargs: Any):
        config = config.clone()
        config.ckpt_path = config.run = None  # a saved configuration starts a run of its own
        super().__init__(parser, config, **kwargs)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Saves nothing yet: what is not trained is no run."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.ckpt_path is not None:
            check_options(trainer.ckpt_path, yaml.safe_load(self._text()))
            check_large_model(trainer.ckpt_path, identity_of(pl_module))

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            write_text(Path(trainer.default_root_dir) / "config.yaml", self._text())

    def _text(self) -> str:
        return str(self.parser.dump(self.config, skip_none=False))


class KCMCLI(LightningCLI):
    """LightningCLI with run folders: a fresh `fit` makes one, every other command finds the newest."""

    trainer: KCMTrainer
    claim: Claim | None = None  # of the run folder, while this is a `fit`

    def __init__(self, *args: Any, **kwargs: Any):
        try:
            super().__init__(*args, **kwargs)
        except MisconfigurationException as error:  # Lightning's word for options that do not go together
            raise InputError(" ".join(str(error).split())) from error
        finally:
            if self.claim is not None:
                self.claim.give_back()

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return LightningCLI.subcommands() | {"calibrate": {"model", "datamodule"}}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run",
            type=str | None,
            help="run folder; by default <number> in runs/<configuration>, or in --trainer.default_root_dir",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        seed = self.config[self.config.subcommand].seed_everything
        if isinstance(seed, int) and not isinstance(seed, bool) and not 0 <= seed < 2**32:
            raise InputError(f"--seed_everything={seed} is to be from 0 to {2**32 - 1}")

    def _parse_ckpt_path(self) -> None:
        """Does nothing: hyper-parameters in a checkpoint never beat the command line."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        self.configs = [Path(str(path)) for path in config.get("config") or []]
        root = Path(config.trainer.default_root_dir or RUNS)
        folder = RunFolder(self.configs[0] if self.configs else None, config.run, root)
        wanted = config.ckpt_path or (None if self.subcommand == "fit" else "best")
        rank: int = rank_zero_only.rank  # type: ignore[attr-defined]  # a function that carries it
        writes = rank == 0 and not config.trainer.fast_dev_run  # the first process alone
        if wanted is None:
            self.folder = self._fresh(folder, make=writes)
        elif wanted in ("best", "last"):
            self.folder = folder.existing(f"{wanted}.ckpt")
            config.ckpt_path = str(self.folder / "checkpoints" / f"{wanted}.ckpt")
        else:
            self.folder = Path(config.run) if config.run else self._folder_of(config.ckpt_path)
        if self.subcommand == "test" and "FineTune" not in config.model.class_path:
            config.verbose = False  # our own table says it all
        if writes and self.subcommand == "fit":
            self.claim = Claim(self.folder)
            if wanted is None:
                folder.check_unused(self.folder)
        elif writes:
            check_writable(self.folder)

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
        if given["enable_model_summary"] is None:
            kwargs["enable_model_summary"] = False  # it counts operations, of which a KAN has none for it
        if given["plugins"] is None:
            kwargs["plugins"] = [RunCheckpointIO()]
        check_trainer(str(self.subcommand), given, self.model)
        if self.subcommand == "fit" and (limits := overfitting(given)):
            kwargs |= limits
            self.datamodule.overfit = True
        self._dump_config()
        callbacks = self._callbacks(checkpoints=given["enable_checkpointing"] is not False)
        own = callbacks_of(given)
        if self.subcommand != "fit":
            own = [callback for callback in own if not isinstance(callback, Checkpoint)]
        kwargs["callbacks"] = [*own, *callbacks]
        return cast(KCMTrainer, super().instantiate_trainer(**kwargs))

    def _callbacks(self, checkpoints: bool) -> list[Callback]:
        """What keeps checkpoints, and what writes and draws the module's kind of results."""
        callbacks: list[Callback] = [BillOfStopped()]
        given = self._get(self.config_init, "trainer")
        if given["enable_progress_bar"] is not False and not any(
            isinstance(own, ProgressBar) for own in callbacks_of(given)
        ):
            callbacks.append(ConsoleProgress())
        if self.subcommand == "fit" and not self.config.fit.trainer.fast_dev_run:
            callbacks += [FitProgress(self.folder), tensorboard_pages(self.model, self.config_dump)]
        if self.subcommand == "fit" and checkpoints:
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
            callbacks += [
                CaptionResultsWriter(self.folder, self.config_dump, not_done(self.folder), self.configs),
                CaptionExamples(),
            ]
        elif isinstance(self.model, KCMModule):
            callbacks += [
                ResultsWriter(self.folder, self.config_dump, not_done(self.folder), self.configs),
                ConfidenceHistogram(),
            ]
        elif isinstance(self.model, SequentialTraining):
            callbacks.append(SequentialResultsWriter(self.folder, self.config_dump))
        return callbacks

    def after_instantiate_classes(self) -> None:
        if self.subcommand == "fit" and not self.trainer.fast_dev_run:
            log_options(self.trainer, self.config_dump)

    def after_validate(self) -> None:
        self._print_bill()

    def _print_bill(self) -> None:
        usage = usage_of(self.model.teacher) if isinstance(self.model, KCMModule) else {}
        if self.trainer.is_global_zero:
            print_usage(usage)

    def after_fit(self) -> None:
        self._print_bill()
        if self.trainer.fast_dev_run:
            say("the try went through: nothing of it is kept (--trainer.fast_dev_run)")
        elif self.trainer.is_global_zero:
            self._check_done(self.trainer.num_training_batches, "training")
            resumed = self.config.fit.ckpt_path is not None
            print_end_of_fit(self.trainer, self.model, folder=self.folder, resumed=resumed)

    def after_test(self) -> None:
        self._check_done(sum(self.trainer.num_test_batches), "test")

    def _check_done(self, batches: float, split: str) -> None:
        """Refuses a command that had nothing to do: no figure is of nothing."""
        if not batches:
            raise InputError(f"the {split} split has no samples")


def run_command(words: list[str]) -> None:
    """Runs `fit`, `validate`, `test`, `predict` or `calibrate`.

    Args:
        words: those of the command, configurations first.
    """
    sys.argv[1:] = words  # which results name as their command, and which processes of DDP are started with
    KCMCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        trainer_class=KCMTrainer,
        parser_class=KCMParser,
        trainer_defaults={"use_distributed_sampler": False, "reload_dataloaders_every_n_epochs": 1},
        save_config_callback=SaveFitConfig,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=0,
        auto_configure_optimizers=False,
    )


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
