"""A trained run, for use from Python."""

from argparse import ArgumentError
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor

from kcm_lightning.core.caption_gate import CaptionGate
from kcm_lightning.core.predictions import Outcome
from kcm_lightning.core.routing import Route
from kcm_lightning.data.base import Batch, KCMDataModule
from kcm_lightning.module import KCMCaptions, KCMModule
from kcm_lightning.results import gather
from kcm_lightning.results.calibrated_file import check_chosen, kind_of, read_calibrated
from kcm_lightning.results.class_figures import prediction_lines
from kcm_lightning.utils.checkpoint_file import read_checkpoint
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.plain_files import read_json, read_yaml
from kcm_lightning.utils.ranges import check_number
from kcm_lightning.utils.renamed_options import check_names


@dataclass
class Answers:
    """Answers to a user's inputs.

    Args:
        prediction: class indices, shape `(B,)`, or captions.
        label: class names, or captions.
        confidence: confidence of whoever answered, fractions in [0, 1], shape `(B,)`.
        route: who answered each input.
        distribution: probabilities of the classes of whoever answered, of large and small models together
            where answers are fused, shape `(B, V)`; None for captions.
    """

    prediction: Tensor | list[str]
    label: list[str]
    confidence: Tensor
    route: list[Route]
    distribution: Tensor | None = None


class Run:
    """Judge, student and large model of a trained run, behind its gates.

    Args:
        module: the trained module.
        data: its data module; its data are not read.
        class_names: in the order of the labels; empty for captions.
        precision: precision of the Trainer that made the run, so that confidences are what the gates were
            calibrated on.
    """

    def __init__(self, module: KCMModule, data: KCMDataModule, class_names: list[str], precision: str):
        self.module, self.data, self.class_names = module.eval(), data, class_names
        self.precision = precision
        self._log: Path | None = None
        self._answered = 0

    def autocast(self) -> torch.autocast:
        """The mixed precision of the run on this device; on a CPU bf16 stands for fp16, as in the Trainer."""
        device = self.module.device.type
        half = torch.float16 if self.precision.startswith("16") and device != "cpu" else torch.bfloat16
        mixed = "mixed" in self.precision or self.precision in (
            "16",
            "bf16",
        )  # the Trainer's short names for it
        return torch.autocast(device, half, enabled=mixed)

    def watch(self, folder: str | Path, shadow: float = 0.01) -> None:
        """From now on keeps what is answered, for the command `monitor`.

        Args:
            folder: the run folder, where `answers/predict.jsonl` is appended to; inputs are counted from 0.
            shadow: share of the inputs, drawn at random, that the large model is asked about whoever answers
                them; 0 asks about none.

        Raises:
            InputError: the share is none, or the run is of captions.
        """
        check_number("shadow", shadow, low=0, high=1)
        if not self.class_names:
            raise InputError("monitor compares classes: captions cannot be watched")
        self._log = Path(folder) / "answers" / "predict.jsonl"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError), self._log.open(encoding="utf-8") as file:
            self._answered = sum(1 for _ in file)
        self.module.shadow = shadow

    def _keep(self, outcome: Outcome) -> None:
        """Appends a batch of answers to what `monitor` reads."""
        if self._log is None:
            return
        count = len(outcome.route)
        index = torch.arange(self._answered, self._answered + count)
        columns = gather([outcome], [{"index": index, "target": torch.full((count,), -1)}])
        with self._log.open("a", encoding="utf-8") as file:
            file.write(prediction_lines(columns, self.class_names))
        self._answered += count

    @torch.no_grad()
    def collaborate(self, batch: Batch) -> Outcome:
        """Algorithm 2 on a batch of the data module's `batch_of`."""
        with self.autocast():
            outcome = self.module.predict_step(move_data_to_device(batch, self.module.device), 0)
        self._keep(outcome)
        return outcome

    def labels(self, prediction: Tensor | list[str]) -> list[str]:
        """Class names of class indices of shape `(B,)`; captions as they are."""
        if isinstance(prediction, Tensor):
            return [str(self.class_names[number]) for number in prediction.tolist()]
        return prediction

    def answer(self, inputs: Any) -> Answers:
        """Algorithm 2 on a user's inputs.

        Args:
            inputs: for image data uint8 images of shape `(B, 3, H, W)`, in the data set's height and width;
                for reviews a list of texts; for captions a list of paths of images.
        """
        outcome = self.collaborate(self.data.batch_of(inputs))
        return Answers(
            prediction=outcome.prediction,
            label=self.labels(outcome.prediction),
            confidence=outcome.confidence,
            route=[Route(code) for code in outcome.route.tolist()],
            distribution=outcome.distribution,
        )


def load(folder: str | Path, calibrated: str | Path | None = None, device: str | torch.device = "cpu") -> Run:
    """Loads the best checkpoint of a run.

    The classes that the run's `config.yaml` names are imported: load folders that you trust.

    Args:
        folder: the run folder, `runs/<configuration>/<number>`.
        calibrated: YAML that `calibrate` wrote, whose thresholds and temperatures are used, and which may
            hold nothing else; None for those of the run.
        device: where to put the models.

    Raises:
        InputError: the folder holds no finished run of a collaboration, a file of it is damaged, or its
            checkpoint is of something else than its configuration.
    """
    folder = Path(folder)
    checkpoint, config, known = (
        folder / "checkpoints" / "best.ckpt",
        folder / "config.yaml",
        folder / "data.json",
    )
    for needed in (config, known, checkpoint):
        if not needed.is_file():
            raise InputError(f"{folder} holds no run: {needed} is missing")
    place = _device(device)
    gates = {} if calibrated is None else read_calibrated(calibrated)
    saved = _saved(config)
    module, data = _built(saved, config)
    if not isinstance(module, KCMModule):
        raise InputError(
            f"{folder} holds a run of {type(module).__name__}, not of judge, student and large model"
        )
    class_names, data.image_shape, counts = _known_of_the_data(known, data)
    module.restore(read_checkpoint(checkpoint, "load"), str(checkpoint), data, class_names)
    _set_gates(module, gates, calibrated)
    _set_counts(module, counts, known)
    check_chosen([] if calibrated is None else [calibrated], module.thresholds, checkpoint)
    module.to(place)
    module.teacher.load(class_names, place)
    return Run(module, data, class_names, precision=str(saved["trainer"].get("precision") or "32-true"))


def _device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(
            f"device={device!r} is none of this machine: {str(error).splitlines()[0]}"
        ) from error
    return place


def _saved(config: Path) -> dict[str, Any]:
    """The configuration of a run, which has a model, data and a trainer."""
    saved = read_yaml(config)
    check_names(saved, str(config))
    for part in ("model", "data", "trainer"):
        if not isinstance(saved.get(part), dict):
            raise InputError(f"{config} is no configuration of a run: it has no {part}")
    return saved


def _built(saved: dict[str, Any], config: Path) -> tuple[LightningModule, Any]:
    """The module and the data module of a configuration."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningModule, "model")
    parser.add_subclass_arguments(LightningDataModule, "data")
    try:
        parsed = parser.parse_object({"model": saved["model"], "data": saved["data"]})
        built = parser.instantiate_classes(parsed)
    except InputError:
        raise
    except (ArgumentError, ValueError, TypeError) as error:
        raise InputError(f"{config}: {' '.join(str(error).split())}") from error
    return built.model, built.data


def _known_of_the_data(
    file: Path, data: KCMDataModule
) -> tuple[list[str], tuple[int, ...] | None, list[int] | None]:
    """The classes of a run's data, the shape of its images, and how many it had of each class to train on."""
    known = read_json(file, largest=None)
    names, shape = known.get("class_names"), known.get("image_shape") or data.image_shape
    if not isinstance(names, list):
        raise InputError(f"{file} is none of a run: it has no class_names")
    if other := [name for name in names if not isinstance(name, str | int | float)]:
        raise InputError(
            f"{file} is none of a run: of its class_names {repr(other[0])[:60]} is neither text nor number"
        )
    counts = known.get("class_counts")
    if counts is not None and not (
        isinstance(counts, list) and len(counts) == len(names) and all(isinstance(n, int) for n in counts)
    ):
        raise InputError(f"{file} is none of a run: its class_counts are not a number for each class")
    return names, shape if shape is None else tuple(shape), counts


def _set_counts(module: KCMModule, counts: list[int] | None, file: Path) -> None:
    """Gives a module the training samples of each class, which a learned gate and a fusion need."""
    if isinstance(module, KCMCaptions):
        return
    if counts is not None:
        module.register_buffer("class_counts", torch.tensor(counts), persistent=False)
    elif module.gate != "confidence" or module.fusion is not None:
        raise InputError(
            f"{file} has no class_counts, which a learned gate and a fusion need: it is of an earlier "
            "version; fit the run again, or use it with `calibrate --gate confidence --fuse false`"
        )


def _set_gates(module: KCMModule, gates: dict[str, Any], file: str | Path | None) -> None:
    """Gives a module the thresholds, and what goes with them, that `calibrate` has found."""
    if "temperatures" in gates and isinstance(module, KCMCaptions):
        raise InputError(f"{file} has temperatures, and captions have none: it is of another run")
    module.thresholds = replace(module.thresholds, **gates.get("thresholds", {}))
    module.temperatures = replace(module.temperatures, **gates.get("temperatures", {}))
    for name in ("gate", "fusion"):
        weights = gates.get(name, getattr(module, name))
        if isinstance(weights, dict):
            kind = kind_of(name, weights)
            if issubclass(kind, CaptionGate) != isinstance(module, KCMCaptions):
                raise InputError(f"{file}: {name} is a {kind.__name__}: it is of a run of another kind")
            weights = kind(**weights)
        setattr(module, name, weights)
