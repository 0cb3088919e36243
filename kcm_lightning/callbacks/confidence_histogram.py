"""Histogram of the small models' confidences with the gates' thresholds."""

from typing import Any

import lightning as L
import torch


class ConfidenceHistogram(L.Callback):
    """Draws the confidences of judge and student, right and wrong apart, at each validation of both."""

    def __init__(self) -> None:
        self.seen: list[tuple[torch.Tensor, ...]] = []

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, *args: Any
    ) -> None:
        if outputs is not None and not trainer.sanity_checking and trainer.logger is not None:
            target = batch["target"]
            columns = []
            for who in ("judge", "student"):
                columns += [
                    getattr(outputs, f"{who}_confidence"),
                    getattr(outputs, f"{who}_prediction") == target,
                ]
            self.seen.append(tuple(column.cpu() for column in columns))

    def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
        seen, self.seen = self.seen, []
        experiment: Any = getattr(trainer.logger, "experiment", None)
        if not seen or not trainer.is_global_zero or not hasattr(experiment, "add_figure"):
            return
        from matplotlib.figure import Figure

        columns = [torch.cat(column) for column in zip(*seen, strict=True)]
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        for i, who in enumerate(("judge", "student")):
            confidence, right = columns[2 * i], columns[2 * i + 1]
            asked = ~confidence.isnan()
            axes = figure.add_subplot(1, 2, i + 1)
            groups = [confidence[asked & right].numpy(), confidence[asked & ~right].numpy()]
            names, colors = ["right", "wrong"], ["tab:blue", "tab:orange"]
            axes.hist(groups, bins=25, range=(0, 1), stacked=True, label=names, color=colors)
            threshold = getattr(module.thresholds, who)
            if threshold is not None:
                axes.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:g}")
            axes.set(title=who, xlabel="confidence", ylabel="validation samples")
            axes.legend()
        experiment.add_figure("confidence", figure, trainer.global_step)
