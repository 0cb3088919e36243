"""A trained run, for use from Python."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.utilities import move_data_to_device
from torch import Tensor

from kcm_lightning.core.routing import Route
from kcm_lightning.data.base import KCMDataModule
from kcm_lightning.module import KCMModule
from kcm_lightning.utils.errors import InputError
from kcm_lightning.utils.renamed_options import check_names


@dataclass
class Answers:
    """Answers to a user's inputs.

    Args:
        prediction: class indices, shape `(B,)`, or captions.
        label: class names, or captions.
        confidence: confidence of whoever answered, fractions in [0, 1], shape `(B,)`.
        route: who answered each input.
    """

    prediction: Tensor | list[str]
    label: list[str]
    confidence: Tensor
    route: list[Route]


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

    def autocast(self) -> torch.autocast:
        """The mixed precision of the run on this device; on a CPU bf16 stands for fp16, as in the Trainer."""
        device = self.module.device.type
        half = torch.float16 if self.precision.startswith("16") and device != "cpu" else torch.bfloat16
        mixed = "mixed" in self.precision or self.precision in (
            "16",
            "bf16",
        )  # the Trainer's short names for it
        return torch.autocast(device, half, enabled=mixed)

    @torch.no_grad()
    def answer(self, inputs: Any) -> Answers:
        """Algorithm 2 on a user's inputs.

        Args:
            inputs: for image data uint8 images of shape `(B, 3, H, W)`, in the data set's height and width;
                for reviews a list of texts; for captions a list of paths of images.
        """
        batch = move_data_to_device(self.data.batch_of(inputs), self.module.device)
        with self.autocast():
            outcome = self.module.predict_step(batch, 0)
        prediction = outcome.prediction
        is_class = isinstance(prediction, Tensor)
        return Answers(
            prediction=prediction,
            label=[self.class_names[i] for i in prediction.tolist()] if is_class else prediction,
            confidence=outcome.confidence,
            route=[Route(code) for code in outcome.route.tolist()],
        )


def load(folder: str | Path, calibrated: str | Path | None = None, device: str | torch.device = "cpu") -> Run:
    """Loads the best checkpoint of a run.

    Args:
        folder: the run folder, `runs/<configuration>/<number>`.
        calibrated: YAML that `calibrate` wrote, whose thresholds and temperatures are used; None for those of
            the run.
        device: where to put the models.

    Raises:
        InputError: the folder holds no finished run of a collaboration.
    """
    folder = Path(folder)
    checkpoint = folder / "checkpoints" / "best.ckpt"
    for needed in (folder / "config.yaml", folder / "data.json", checkpoint):
        if not needed.is_file():
            raise InputError(f"{folder} holds no run: {needed} is missing")
    if calibrated is not None and not Path(calibrated).is_file():
        raise InputError(f"there is no file {str(calibrated)!r}")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningModule, "model")
    parser.add_subclass_arguments(LightningDataModule, "data")
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    check_names(saved, str(folder / "config.yaml"))
    config = parser.parse_object({"model": saved["model"], "data": saved["data"]})
    if calibrated is not None:
        config = parser.parse_object(yaml.safe_load(Path(calibrated).read_text()), config)
    built = parser.instantiate_classes(config)
    module, data = built.model, built.data
    if not isinstance(module, KCMModule):
        kind = saved["model"]["class_path"]
        raise InputError(f"{folder} holds a run of {kind}, not of judge, student and large model")
    module.restore(torch.load(checkpoint, map_location="cpu", weights_only=True), data)
    known = json.loads((folder / "data.json").read_text())
    class_names, data.image_shape = known["class_names"], known.get("image_shape") or data.image_shape
    module.to(device)
    module.teacher.load(class_names, torch.device(device))
    return Run(module, data, class_names, precision=str(saved["trainer"]["precision"] or "32-true"))
