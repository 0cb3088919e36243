"""Pictures and what the models say of them, while training."""

import textwrap

import lightning as L
from torch import Tensor

from kcm_lightning.collaboration import Outcome
from kcm_lightning.gating import Route

_SHOWN = 8


class CaptionExamples(L.Callback):
    """Draws, each time the student is validated, the first pictures with judge's, student's and KCM's captions."""

    def __init__(self):
        self.first: tuple[Tensor, Outcome] | None = None

    def on_validation_batch_end(self, trainer, module, outputs: Outcome | None, batch: dict, batch_idx: int, *args) -> None:
        if outputs is not None and batch_idx == 0 and not trainer.sanity_checking:
            self.first = batch["pixels"][:_SHOWN].cpu(), outputs

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        first, self.first = self.first, None
        experiment = getattr(trainer.logger, "experiment", None)
        if first is None or not trainer.is_global_zero or not hasattr(experiment, "add_figure"):
            return
        from matplotlib.figure import Figure

        pixels, outcome = first
        figure = Figure(figsize=(14, 8), layout="constrained")
        for row, picture in enumerate(pixels):
            axes = figure.add_subplot(2, _SHOWN // 2, row + 1)
            axes.imshow(picture.permute(1, 2, 0).numpy())
            axes.set_axis_off()
            said = [
                f"judge {outcome.judge_confidence[row].item():.2f}: {outcome.judge_prediction[row]}",
                f"student {outcome.student_confidence[row].item():.2f}: {outcome.student_prediction[row]}",
                f"KCM ({Route(int(outcome.route[row])).name.lower()}): {outcome.prediction[row]}",
            ]
            axes.set_title("\n".join(textwrap.fill(line, 40) for line in said), fontsize=8, loc="left", parse_math=False)
        experiment.add_figure("captions", figure, trainer.global_step)
