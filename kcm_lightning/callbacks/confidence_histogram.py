"""Confidences of the small models, and whether these can be relied on, at each validation."""

from collections.abc import Mapping
from typing import Any

import lightning as L
from torch import Tensor

from kcm_lightning.callbacks.tensorboard import writers_of
from kcm_lightning.metrics import Reliability

_WHO = ("judge", "student")
_RIGHT, _WRONG = "#0072B2", "#D55E00"  # Okabe and Ito's colors, which color-blind readers tell apart


class ConfidenceHistogram(L.Callback):
    """Logs and draws how far judge and student can be relied on, while training classes.

    Each validation logs the expected calibration error of both, for any logger. Once there is a student,
    TensorBoard also gets two figures: "confidence", a histogram of right and of wrong answers with the gates'
    thresholds, and "reliability", the share of right answers by confidence.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Reliability] = {}

    def on_validation_epoch_start(self, trainer: Any, module: Any) -> None:
        if trainer.state.fn == "fit":  # else not every sample is asked about
            self.seen = {who: Reliability().to(module.device) for who in _WHO}

    def on_validation_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, *args: Any
    ) -> None:
        for who, reliability in self.seen.items():
            if (said := _said(outputs, who)) is not None:
                prediction, confidence = said
                reliability.update(confidence=confidence, right=prediction == batch["target"])

    def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
        seen, self.seen = {who: own for who, own in self.seen.items() if own.update_called}, {}
        errors = {f"val/{who}_calibration_error": own.compute() for who, own in seen.items()}
        module.log_dict(errors, sync_dist=True)  # the same in all processes
        if len(seen) < len(_WHO) or trainer.sanity_checking:
            return
        for writer in writers_of(trainer):
            thresholds = {who: getattr(module.thresholds, who) for who in _WHO}
            writer.add_figure("confidence", confidence_figure(seen, thresholds), trainer.global_step)
            writer.add_figure("reliability", reliability_figure(seen), trainer.global_step)


def _said(outputs: Any, who: str) -> tuple[Tensor, Tensor] | None:
    """Predictions of a model and its confidences; None where it was not asked."""
    if isinstance(outputs, Mapping):
        own = outputs.get(who)
        return None if own is None else (own.prediction, own.confidence)
    if outputs is None:
        return None
    return getattr(outputs, f"{who}_prediction"), getattr(outputs, f"{who}_confidence")


def confidence_figure(seen: Mapping[str, Reliability], thresholds: Mapping[str, float | None]) -> Any:
    """Draws a histogram of each model's confidences, right and wrong answers apart.

    Args:
        seen: what was counted of each model.
        thresholds: confidence from which on each model's answer is kept; None where its gate is closed.
    """
    figure, panels = _panels(seen, "validation samples")
    for who, axes in panels.items():
        samples, right = seen[who].samples.cpu(), seen[who].right.cpu()
        _bars(axes, right, color=_RIGHT, label="right")
        _bars(axes, samples - right, bottom=right.tolist(), color=_WRONG, label="wrong")
        threshold = thresholds[who]
        axes.set_title(f"{who}: " + ("no gate" if threshold is None else f"threshold {threshold:.4g}"))
        if threshold is not None:
            axes.axvline(threshold, color="black", linestyle="--", label="threshold")
    return _with_legend(figure, panels)


def reliability_figure(seen: Mapping[str, Reliability]) -> Any:
    """Draws each model's reliability diagram: the share of right answers by confidence.

    Args:
        seen: what was counted of each model.
    """
    figure, panels = _panels(seen, "share of right answers")
    for who, axes in panels.items():
        own = seen[who]
        share = (own.right / own.samples.clamp_min(1)).cpu()
        _bars(axes, share, color=_RIGHT, edgecolor="white", label="share of right answers")
        axes.plot([0, 1], [0, 1], color="black", linestyle=":", label="perfectly calibrated")
        axes.set_title(f"{who}: calibration error {own.compute().item():.3f}")
        axes.set_ylim(0, 1.02)
    return _with_legend(figure, panels)


def _panels(seen: Mapping[str, Reliability], measure: str) -> tuple[Any, dict[str, Any]]:
    """A figure, and axes for each model."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.6, 3.3))  # TensorBoard shows it half as large
    figure.subplots_adjust(left=0.1, right=0.98, top=0.91, bottom=0.29, wspace=0.08)
    panels = dict(zip(seen, figure.subplots(1, len(seen), sharey=True), strict=True))
    for axes in panels.values():
        axes.set(xlabel="confidence", xlim=(-0.02, 1.02))
    next(iter(panels.values())).set_ylabel(measure)
    return figure, panels


def _bars(axes: Any, heights: Tensor, **style: Any) -> None:
    """A bar for each bin of confidence."""
    bins = len(heights)
    axes.bar([place / bins for place in range(bins)], heights.tolist(), width=1 / bins, align="edge", **style)


def _with_legend(figure: Any, panels: Mapping[str, Any]) -> Any:
    """The figure with its legend below the axes, where it hides nothing."""
    named: dict[str, Any] = {}
    for axes in panels.values():
        handles, names = axes.get_legend_handles_labels()
        named = dict(zip(names, handles, strict=True)) | named
    figure.legend(named.values(), named.keys(), loc="lower center", ncols=len(named), frameon=False)
    return figure
