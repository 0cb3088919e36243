"""The figure of a test: quality against LM rate, fit for a slide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from kcm_lightning.utils.files import write_figure

# Okabe and Ito's colors, which color-blind readers tell apart
_BLUE, _ORANGE, _GREEN, _GRAY, _PURPLE = "#0072B2", "#D55E00", "#009E73", "#595959", "#CC79A7"
_SKY = "#56B4E9"
_LEFT, _RIGHT = -24, 124  # ends of the axis of LM rates, with room for names beside 0 and 100 %


@dataclass
class Curve:
    """What one panel shows; rates and values as fractions.

    Args:
        measure: what the values are, for the axis.
        unit: " %" or "", behind values.
        rates: LM rates, shape `(R,)`.
        values: quality when the least confident samples go to the large model, shape `(R,)`.
        half_width: half of the 95 % interval of `values`, shape `(R,)`.
        routers: name of a router and its values at LM rates of 0 to 1, evenly spread.
        judge: quality of the judge alone.
        student: quality of the student alone.
        large: quality of the large model alone.
        kcm: LM rate and quality of the collaboration as it ran.
        verdict: a sentence below the title; may be empty.
        name: what decides along the curve.
        as_printed: quality at the same rates by the student's confidence and the large model alone, as the
            paper prints it, shape `(R,)`; None where that is the curve itself.
        papers: LM rate and quality of the paper's KCM on these data; None for other data.
    """

    measure: str
    unit: str
    rates: Tensor
    values: Tensor
    half_width: Tensor
    routers: Mapping[str, Sequence[float]]
    judge: float
    student: float
    large: float
    kcm: tuple[float, float]
    verdict: str = ""
    name: str = "by the student's confidence"
    as_printed: Tensor | None = None
    papers: tuple[float, float] | None = None


def write_curves(path: Path, title: str, curves: Sequence[Curve]) -> None:
    """Draws panels side by side, as PNG and as SVG beside it.

    Args:
        path: the PNG file.
        title: of the whole figure.
        curves: a panel each.
    """
    from matplotlib import rc_context

    # text of the SVG stays text, so that a slide's author can change it
    with rc_context({"font.size": 13, "svg.fonttype": "none", "axes.spines.top": False}):
        figure = figure_of(title, curves)
        write_figure(path, figure)
        write_figure(path.with_suffix(".svg"), figure)


def figure_of(title: str, curves: Sequence[Curve]) -> Any:
    """The matplotlib figure that `write_curves` writes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9 * len(curves), 6.5), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    for place, curve in enumerate(curves, 1):
        axes = figure.add_subplot(1, len(curves), place)
        _draw(axes, curve)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2 * len(curves), frameon=False)
    return figure


def _draw(axes: Any, curve: Curve) -> None:
    rates, values, half = 100 * curve.rates, 100 * curve.values, 100 * curve.half_width
    axes.fill_between(rates, values - half, values + half, color=_BLUE, alpha=0.15, linewidth=0)
    axes.plot(rates, values, color=_BLUE, linewidth=2.5, label=f"{curve.name}, 95 % interval")
    if curve.as_printed is not None:
        label = "as printed: confidence, large model alone"
        axes.plot(rates, 100 * curve.as_printed, color=_SKY, linewidth=2, label=label)
    for (name, router), style, color in zip(
        curve.routers.items(), ("--", ":"), (_GRAY, _PURPLE), strict=False
    ):
        even = [100 * place / (len(router) - 1) for place in range(len(router))]
        axes.plot(even, [100 * value for value in router], style, color=color, linewidth=2, label=name)
    axes.hlines(
        100 * curve.large, 0, 100, color=_GREEN, linewidth=1.5, linestyle="-.", label="large model alone"
    )
    rate, quality = (100 * value for value in curve.kcm)
    axes.plot(rate, quality, "o", color=_ORANGE, markersize=11, label="KCM as it ran", zorder=5)
    if curve.papers is not None:
        place, value = (100 * number for number in curve.papers)
        label = f"the paper's KCM: {value:.2f}{curve.unit} at {place:.1f} %"
        axes.plot(place, value, "*", color=_ORANGE, markersize=16, markerfacecolor="white", label=label)
    _make_room(axes, 100 * curve.student)
    low, high = axes.get_ylim()
    if 100 * curve.judge > low - 2 * (high - low):  # one that is further off would flatten the curve
        _make_room(axes, 100 * curve.judge)
        low, high = axes.get_ylim()
    axes.set_ylim(min(low, quality - 0.42 * (high - low)), high)
    for side, points in ((-1, {"judge": curve.judge, "student": curve.student}), (1, {"large": curve.large})):
        _name_points(axes, curve.unit, side, points)
    axes.set(
        xlabel="LM rate: share of samples that the large model is called for, %",
        ylabel=curve.measure,
        xlim=(_LEFT, _RIGHT),
        xticks=range(0, 101, 20),
    )
    axes.set_title(curve.verdict.replace(": ", ":\n", 1), fontsize=12)
    axes.grid(alpha=0.25)
    axes.spines["right"].set_visible(False)
    axes.annotate(
        f"KCM {quality:.2f}{curve.unit}\nat LM rate {rate:.1f} %",
        xy=(rate, quality),
        xytext=(min(max(rate + 8, 10), 66), quality - 0.22 * (high - low)),
        color=_ORANGE,
        fontweight="bold",
        va="top",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        arrowprops={"arrowstyle": "-", "color": _ORANGE},
    )


def _make_room(axes: Any, value: float) -> None:
    axes.plot([0], [value], linestyle="none")


def _name_points(axes: Any, unit: str, side: int, points: Mapping[str, float]) -> None:
    """Marks models that answer alone at an LM rate of 0 or 100 %, with names that do not overlap.

    One that lies below the panel is marked at its lower edge by a triangle that points down.
    """
    low, high = axes.get_ylim()
    apart, last = 0.11 * (high - low), -float("inf")
    for name, value in sorted(points.items(), key=lambda point: point[1]):
        place = 0 if side < 0 else 100
        color = _GREEN if side > 0 else _GRAY
        below = 100 * value < low
        height = low + 0.4 * apart if below else 100 * value
        axes.plot(place, height, "v" if below else "s", color=color, markersize=9, zorder=4)
        last = max(height, last + apart)
        axes.annotate(
            f"{name}\n{100 * value:.2f}{unit}",
            xy=(place, height),
            xytext=(place + side * 3, last),
            ha="right" if side < 0 else "left",
            va="center",
            color=color,
        )


def verdict(difference: Mapping[str, float], unit: str = "points") -> str:
    """Whether routing is better than chance, in words.

    Args:
        difference: `difference` of KCM and the random router at its LM rate, with `low` and `high` of the
            95 % interval, fractions.
        unit: what a hundredth is called.

    >>> verdict({"difference": 0.031, "low": 0.02, "high": 0.042})
    'Routing is better than chance: KCM - random router +3.10 points (95 % interval +2.00 to +4.20).'
    """
    value, low, high = (100 * difference[name] for name in ("difference", "low", "high"))
    if low > 0:
        words = "Routing is better than chance"
    else:
        words = "Routing is worse than chance" if high < 0 else "Routing is no better than chance here"
    return f"{words}: KCM - random router {value:+.2f} {unit} (95 % interval {low:+.2f} to {high:+.2f})."
