import math
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest

from isegm import plots
from isegm.plots import COLOURS, Curve, Histogram, plot_curves, plot_histograms
from tests.report.by_hand import HOSTILE

SVG = "{http://www.w3.org/2000/svg}"


def curve(*mean, label="a", spread=0.1):
    mean = np.array(mean)
    return Curve(label, mean, mean - spread, mean + spread)


def histogram(*counts, failures=0, label="a"):
    return Histogram(label, np.array(counts), failures)


def words_of(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


HATCHED = "url("


def bars_of(svg, colour):
    """Heights of the bars filled so, in the plot's own unit, from left to right."""
    shapes = [
        e for e in ElementTree.fromstring(svg).iter(f"{SVG}path") if f"fill: {colour}" in e.get("style", "")
    ]
    boxes = [
        np.array(
            [
                float(number)
                for number in e.get("d").replace("M", "").replace("L", "").replace("z", "").split()
            ]
        )
        for e in shapes
        if e.get("clip-path")
    ]
    return [float(np.ptp(box[1::2])) for box in sorted(boxes, key=lambda box: box[0])]


def test_bars_are_as_high_as_the_counts_and_failures_stand_apart():
    svg = plot_histograms([histogram(2, 0, 4, failures=3)], "samples").svg
    bars = bars_of(svg, COLOURS[0])
    assert len(bars) == 3
    np.testing.assert_allclose(np.array(bars) / bars[0], [1, 0, 2], atol=1e-4)
    (failed,) = bars_of(svg, HATCHED)
    assert failed / bars[0] == pytest.approx(1.5, abs=1e-4)
    assert words_of(svg)[:5] == ["1", "2", "3", "never", "clicks needed"]


def test_several_networks_have_bars_and_lines_of_their_own_and_a_legend():
    svg = plot_histograms([histogram(1, 2, label="x"), histogram(3, 4, label="y")], "samples").svg
    assert [len(bars_of(svg, colour)) for colour in COLOURS[:3]] == [2, 2, 0]
    assert {"x", "y"} <= set(words_of(svg))
    svg = plot_curves([curve(0.5, 0.6, label="x"), curve(0.5, 0.7, label="y")], "IoU", 0.9).svg
    assert all(f"stroke: {colour}" in svg for colour in COLOURS[:2])
    assert {"x", "y", "clicks", "mean IoU"} <= set(words_of(svg))
    assert "x" not in words_of(plot_curves([curve(0.5, 0.6, label="x")], "IoU", 0.9).svg)


@pytest.mark.parametrize(("target", "drawn"), [(0.9, True), (1.0, True), (1.01, False), (math.inf, False)])
def test_the_target_is_marked_where_clicking_stopped_at_it(target, drawn):
    svg = plot_curves([curve(0.5, 0.6)], "IoU", target).svg
    assert ("stroke-dasharray" in svg) == ("target" in words_of(svg)) == drawn


@pytest.mark.parametrize("means", [[0.5], [0.0] * 20, [1.0] * 20, [0.5] * 1000])
def test_any_curve_can_be_drawn_with_and_without_a_band(means):
    for spread in (0.0, math.nan):
        plot = plot_curves([curve(*means, spread=spread)], "Dice", 0.9)
        ElementTree.fromstring(plot.svg)
        assert "nan" not in plot.svg


@pytest.mark.parametrize("clicks", [1, 4, 20, 100, 1000])
def test_numbers_on_the_axis_are_few_and_begin_with_the_first_click(clicks):
    ticks = plots._ticks(clicks)
    assert ticks[0] == 1
    assert len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    assert ticks[-1] > 0.75 * clicks


def test_names_are_text_and_neither_elements_nor_formulas():
    both = [curve(0.5, 0.6, label=HOSTILE), curve(0.5, 0.6, label="$\\frac$")]
    svg = plot_curves(both, "IoU", 0.9).svg
    assert f"{SVG}script" not in {element.tag for element in ElementTree.fromstring(svg).iter()}
    assert any(word.startswith('<script>alert("1")') for word in words_of(svg))
    assert "$\\frac$" in words_of(svg)
    long = plot_curves([curve(0.5, label="y" * 200), curve(0.5, label="x")], "IoU", 0.9).svg
    assert "y" * 29 + "..." in words_of(long)


def test_the_picture_is_a_png_on_white_and_the_same_every_time():
    curves = [curve(0.5, 0.6, 0.9)]
    plot = plot_curves(curves, "IoU", 0.9)
    pixels = cv2.imdecode(np.frombuffer(plot.png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape[:2] == (465, 720)
    assert (pixels[0, 0] == 255).all()
    assert plot == plot_curves(curves, "IoU", 0.9)
