"""The figure of a test, as a reader sees it: its words in the SVG, its points in the panel."""

import re

import pytest
import torch
from matplotlib import rc_context
from PIL import Image

from kcm_lightning.results.curve import Curve, figure_of, verdict, write_curves


def curve(**other) -> Curve:
    rates = torch.linspace(0, 1, 11, dtype=torch.double)
    facts = {
        "measure": "accuracy, %",
        "unit": " %",
        "rates": rates,
        "values": 0.8 + 0.15 * rates,
        "half_width": torch.full((11,), 0.02, dtype=torch.double),
        "routers": {"random router": [0.8, 0.95], "oracle router": [0.8, 0.99, 0.99]},
        "judge": 0.795,
        "student": 0.8,
        "large": 0.95,
        "kcm": (0.4, 0.93),
        "verdict": verdict({"difference": 0.001, "low": -0.01, "high": 0.012}),
    }
    return Curve(**facts | other)


def words_of(svg: str) -> list[str]:
    return [re.sub("<[^>]+>", "", text).strip() for text in re.findall(r"<text.*?</text>", svg, re.S)]


def test_it_names_all_that_it_shows(tmp_path):
    write_curves(tmp_path / "curve.png", "Digits, 600 test samples", [curve()])
    words = words_of((tmp_path / "curve.svg").read_text())
    for shown in (
        "Digits, 600 test samples",
        "Routing is no better than chance here:",
        "judge",
        "79.50 %",
        "student",
        "80.00 %",
        "large",
        "95.00 %",
        "KCM 93.00 %",
        "at LM rate 40.0 %",
        "random router",
        "oracle router",
        "large model alone",
        "accuracy, %",
        "100",
    ):
        assert shown in words, words
    with Image.open(tmp_path / "curve.png") as image:
        assert image.width >= 1000  # readable at half size


@pytest.mark.parametrize("panels", [1, 2])
def test_words_stay_apart_and_inside(panels):
    """Judge, student and the operating point lie on one another here."""
    with rc_context({"font.size": 13}):
        figure = figure_of("Digits", [curve(judge=0.8, student=0.8, kcm=(0.0, 0.8))] * panels)
        figure.draw_without_rendering()
    texts = [text for axes in figure.axes for text in [*axes.texts, axes.title, axes.yaxis.label]]
    texts += figure.legends[0].get_texts()
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == 6 * panels + 5
    for place, (text, box) in enumerate(zip(texts, boxes, strict=True)):
        assert not any(box.overlaps(other) for other in boxes[place + 1 :]), text.get_text()
        assert figure.bbox.containsx(box.x0) and figure.bbox.containsx(box.x1), text.get_text()
        assert figure.bbox.containsy(box.y0) and figure.bbox.containsy(box.y1), text.get_text()


def test_two_panels_stand_side_by_side(tmp_path):
    write_curves(tmp_path / "curve.png", "Flickr8k", [curve(measure="BLEU-4 x 100", unit=""), curve()])
    words = words_of((tmp_path / "curve.svg").read_text())
    assert "BLEU-4 x 100" in words and "accuracy, %" in words and words.count("random router") == 1


@pytest.mark.parametrize(
    "low, high, said", [(0.01, 0.02, "better than"), (-0.02, -0.01, "worse"), (-0.01, 0.01, "no better")]
)
def test_a_verdict_is_what_the_interval_says(low, high, said):
    sentence = verdict({"difference": (low + high) / 2, "low": low, "high": high})
    assert said in sentence and f"{100 * low:+.2f} to {100 * high:+.2f}" in sentence


@pytest.mark.parametrize("judge", [0.2, 0.7])
def test_a_judge_that_is_far_off_does_not_flatten_the_curve(judge):
    figure = figure_of("Digits", [curve(judge=judge)])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert 0.25 * (high - low) <= 15  # what the curve gains, in points
    assert (low < 100 * judge) == (judge == 0.7)
    named = next(text for text in axes.texts if text.get_text().startswith("judge"))
    assert named.get_text() == f"judge\n{100 * judge:.2f} %"
    assert low < named.xyann[1] < high
    marks = [line.get_marker() for line in axes.lines]
    assert ("v" in marks) == (judge == 0.2)
