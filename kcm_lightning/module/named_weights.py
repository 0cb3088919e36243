"""A LightningModule whose checkpoints name what their weights are of."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from kcm_lightning.module.made_of import MadeOf
from kcm_lightning.utils.errors import InputError

_KEY = "made_of"


class NamedWeights(L.LightningModule):
    """Writes into each checkpoint what its weights are of, and refuses to take up those of something else.

    Attributes:
        weights_option: the option that holds the small model, for errors: "model.judge".
    """

    trainer: Any  # Lightning's, with attributes that its class does not declare
    weights_option: str
    _built: tuple[nn.Module, MadeOf] | None = None

    @property
    def named_model(self) -> nn.Module:
        """The model whose weights a checkpoint holds."""
        raise NotImplementedError

    def made_of(self, data: Any, class_names: list[str]) -> MadeOf:
        """What this module's weights are of, as they were when it was first asked.

        Args:
            data: the data module.
            class_names: the data's classes, in the order of the labels.
        """
        if self._built is None or self._built[0] is not self.named_model:
            self._built = self.named_model, MadeOf.of(self.named_model, data, class_names)
        return self._built[1]

    def configure_model(self) -> None:
        """Looks at the model before it works: Lightning calls this after `setup`, in each command."""
        data = self.trainer.datamodule
        self.made_of(data, data.class_names)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what the weights are of."""
        data = self.trainer.datamodule
        checkpoint[_KEY] = self.made_of(data, data.class_names).as_plain()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compares what the weights are of with what they are to be used for.

        Raises:
            InputError: they are of another model, other classes or otherwise prepared data, or no numbers.
        """
        data = self.trainer.datamodule
        self.check_weights(checkpoint, str(self.trainer.ckpt_path), data, data.class_names)
        if self.trainer.state.fn == "fit" and not checkpoint.get("optimizer_states"):
            raise InputError(
                f"{self.trainer.ckpt_path} holds weights alone: nothing can be resumed from it; a fresh fit "
                "takes its judge with --model.judge_ckpt"
            )

    def check_weights(
        self, checkpoint: dict[str, Any], path: str, data: Any, class_names: list[str], advice: str = ""
    ) -> None:
        """Refuses a checkpoint of something else, see `check_weights`."""
        own, model = self.made_of(data, class_names), self.named_model
        check_weights(
            checkpoint, path, own, model=model, data=data, option=self.weights_option, advice=advice
        )


def check_weights(
    checkpoint: dict[str, Any],
    path: str,
    own: MadeOf,
    *,
    model: nn.Module,
    data: Any,
    option: str,
    advice: str = "",
) -> None:
    """Refuses weights of something else; says where a checkpoint is too old to tell.

    Args:
        checkpoint: what it holds.
        path: its file, for the error.
        own: what the weights are to be used for.
        model: the small model.
        data: the data module.
        option: the option that holds the small model.
        advice: what to do; by default to give the options that the checkpoint was made with.

    Raises:
        InputError: the weights are of something else, or no numbers; the options that differ are named.
    """
    parameters = {name for name, _ in model.named_parameters()}
    for name, values in checkpoint["state_dict"].items():
        if name.partition(".")[2] in parameters and not torch.isfinite(values).all():
            raise InputError(f"{path} holds weights that are not finite ({name}): it is damaged")
    if _KEY not in checkpoint:
        rank_zero_warn(
            f"{path} does not say what it is of, as checkpoints of earlier versions do not: that its model, "
            "classes and data are those given cannot be checked"
        )
        return
    try:
        MadeOf.read(checkpoint[_KEY]).compare(own, model=model, data=data, option=option)
    except ValueError as error:
        config = Path(path).parent.parent / "config.yaml"
        known = f"--config {config}" if config.is_file() else "the config.yaml of its run"
        advice = advice or f"give the options that it was made with, as {known} has them"
        raise InputError(f"{path} is of another model or other data: {error}; {advice}") from error
