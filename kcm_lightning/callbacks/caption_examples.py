"""Images and what the models say of them, while training."""

import textwrap
from typing import Any

import lightning as L
from torch import Tensor

from kcm_lightning.callbacks.tensorboard import writers_of
from kcm_lightning.core.predictions import Outcome
from kcm_lightning.core.routing import Route

_SHOWN = 8


class CaptionExamples(L.Callback):
    """Draws the first images with every model's captions, each time the student is validated."""

    def __init__(self) -> None:
        self.first: tuple[Tensor, Outcome] | None = None

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        if isinstance(outputs, Outcome) and batch_idx == 0 and not trainer.sanity_checking:
            self.first = batch["pixels"][:_SHOWN].cpu(), outputs

    def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
        first, self.first = self.first, None
        if first is not None:
            for writer in writers_of(trainer):
                writer.add_figure("captions", _figure_of(*first), trainer.global_step)


def _figure_of(pixels: Tensor, outcome: Outcome) -> Any:
    """Draws images with what each model says of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 8), layout="constrained")
    for row, image in enumerate(pixels):
        axes = figure.add_subplot(2, _SHOWN // 2, row + 1)
        axes.imshow(image.permute(1, 2, 0).numpy())
        axes.set_axis_off()
        said = [
            f"judge {outcome.judge_confidence[row].item():.2f}: {outcome.judge_prediction[row]}",
            f"student {outcome.student_confidence[row].item():.2f}: {outcome.student_prediction[row]}",
            f"KCM ({Route(int(outcome.route[row])).name.lower()}): {outcome.prediction[row]}",
        ]
        title = "\n".join(textwrap.fill(line, 40) for line in said)
        axes.set_title(title, fontsize=8, loc="left", parse_math=False)
    return figure
