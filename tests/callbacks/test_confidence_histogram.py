"""Figures of confidence and reliability."""

import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from kcm_lightning.callbacks.confidence_histogram import confidence_figure, reliability_figure
from kcm_lightning.metrics import Reliability


@pytest.fixture
def seen():
    generator = torch.Generator().manual_seed(0)
    found = {}
    for who in ("judge", "student"):
        confidence = torch.rand(300, generator=generator)
        found[who] = Reliability()
        found[who].update(confidence=confidence, right=torch.rand(300, generator=generator) < confidence)
    return found


def test_no_legend_hides_anything(seen):
    for figure in (confidence_figure(seen, {"judge": 0.98, "student": None}), reliability_figure(seen)):
        FigureCanvasAgg(figure).draw()
        (legend,) = figure.legends
        assert all(axes.get_legend() is None for axes in figure.axes)
        taken = [axes.get_tightbbox() for axes in figure.axes]
        assert not any(legend.get_window_extent().overlaps(box) for box in taken)
        inside = figure.bbox
        for box in (*taken, legend.get_window_extent()):
            assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1


def test_bars_are_what_was_counted_and_thresholds_are_named(seen):
    figure = confidence_figure(seen, {"judge": 0.98, "student": None})
    for axes, (who, own) in zip(figure.axes, seen.items(), strict=True):
        right, wrong = axes.containers
        assert [bar.get_height() for bar in right] == own.right.tolist()
        assert [bar.get_height() for bar in wrong] == (own.samples - own.right).tolist()
        assert axes.get_title() == {"judge": "judge: threshold 0.98", "student": "student: no gate"}[who]
        assert len(axes.lines) == (who == "judge")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(names) == ["right", "threshold", "wrong"]
    figure = reliability_figure(seen)
    for axes, (who, own) in zip(figure.axes, seen.items(), strict=True):
        shares = (own.right / own.samples).tolist()
        assert [bar.get_height() for bar in axes.containers[0]] == pytest.approx(shares)
        assert axes.get_title() == f"{who}: calibration error {own.compute():.3f}"
