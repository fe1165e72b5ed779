"""Plots in one style, as PNG and SVG; matplotlib is imported when the first one is drawn."""

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isegm.tables import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = npt.NDArray[np.float64]

COLOURS = ("#2f74d0", "#d9722e", "#2b9a76", "#b8509a", "#8a7a1f", "#6a5fd0", "#c2404e", "#2a93a8")
"""Of lines, bars and points: dark enough for white paper and light enough for a dark page."""

INK, RULE, PAPER = "#23272e", "#d5d9df", "#fffffe"
"""Of text, of lines that help to read, and of the background; nothing else is drawn in these."""

_SIZE = 4.8, 3.1
_LABEL = 32
"""Characters of a name that a legend has room for."""
_STYLES = ("-", "--", "-.", ":")
_RC: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and is set in a page's own font
    "svg.hashsalt": "isegm",  # the same plot is the same file
    "text.parse_math": False,  # names may hold dollar signs
    "font.size": 10.0,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@dataclass(frozen=True)
class Plot:
    """A plot in two formats.

    Attributes:
        svg: A file's content.
        png: A file's content, on white.
    """

    svg: str
    png: bytes


@dataclass(frozen=True)
class Curve:
    """A mean by clicks with its band, (clicks,) each; ends are NaN where there is no band."""

    label: str
    mean: Values
    low: Values
    high: Values


@dataclass(frozen=True)
class Histogram:
    """How many evaluations needed 1, 2, ... clicks, (clicks,), and how many no number of clicks solved."""

    label: str
    counts: npt.NDArray[np.int64]
    failures: int


def style() -> AbstractContextManager[None]:
    """The style of every plot, for as long as the context lasts: figures are made and drawn in it."""
    from matplotlib import rc_context

    return rc_context(_RC)


def png(figure: "Figure") -> bytes:
    """A figure as a PNG file on white, 150 dots an inch."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150, facecolor="white")
    return content.getvalue()


def plot_curves(curves: Sequence[Curve], measure: str, target: float) -> Plot:
    """Draw mean IoU or Dice against clicks, each with its 95 % band.

    Args:
        curves: One at least.
        measure: What it is the mean of.
        target: Where clicking stopped, marked if it lies in the plot.
    """
    with style():
        figure, axes = _new_figure()
        longest = max(len(curve.mean) for curve in curves)
        for number, curve in enumerate(curves):
            clicks = np.arange(1, len(curve.mean) + 1)
            colour, line = COLOURS[number % len(COLOURS)], _STYLES[number // len(COLOURS) % len(_STYLES)]
            if not np.isnan(curve.low).any():
                axes.fill_between(clicks, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
            label = _shortened(curve.label)
            axes.plot(
                clicks, curve.mean, line, color=colour, linewidth=1.8, marker="o", markersize=3, label=label
            )
        lowest = min(float(np.nanmin([curve.mean, curve.low])) for curve in curves)
        axes.set_ylim(max(0.0, np.floor(lowest * 10 - 0.2) / 10), 1.005)
        axes.set_xlim(0.5, longest + 0.5)
        if target <= 1:
            axes.axhline(target, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
            side = "bottom" if target <= 0.95 else "top"
            axes.text(0.6, target, "target", fontsize=9, ha="left", va=side)
        axes.set_xlabel("clicks")
        axes.set_ylabel(f"mean {measure}")
        axes.set_xticks(_ticks(longest))
        _add_legend(figure, axes, len(curves))
        return _rendered(figure)


def plot_histograms(histograms: Sequence[Histogram], counted: str) -> Plot:
    """Draw how many samples needed how many clicks; those that none solved stand apart at the right.

    Args:
        histograms: One at least, all of one number of clicks.
        counted: What is counted, for the axis.
    """
    from matplotlib.ticker import MaxNLocator

    clicks = len(histograms[0].counts)
    width = 0.84 / len(histograms)
    apart = clicks + 1 + max(0.6, 0.08 * clicks)
    with style():
        figure, axes = _new_figure()
        for number, histogram in enumerate(histograms):
            colour = COLOURS[number % len(COLOURS)]
            shift = (number - (len(histograms) - 1) / 2) * width
            places, label = np.arange(1, clicks + 1) + shift, _shortened(histogram.label)
            axes.bar(places, histogram.counts, width, color=colour, label=label)
            axes.bar(
                apart + shift,
                histogram.failures,
                width,
                color=PAPER,
                edgecolor=colour,
                hatch="////",
                linewidth=1.2,
            )
        ticks = _ticks(clicks)
        axes.set_xticks([*ticks, apart], [*map(str, ticks), "never"])
        axes.set_xlim(0.3, apart + 0.7)
        axes.set_xlabel("clicks needed")
        axes.set_ylabel(counted)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(visible=False, axis="x")
        _add_legend(figure, axes, len(histograms))
        return _rendered(figure)


def _new_figure() -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE)
    figure.subplots_adjust(left=0.12, right=0.98, top=0.97, bottom=0.15)
    return figure, figure.add_subplot()


def _ticks(clicks: int) -> list[int]:
    """Where an axis of so many clicks has its numbers: at the first click, and at some round ones."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if clicks / step <= 6)
    return [1, *range(max(2, step), clicks + 1, step)]


def _add_legend(figure: "Figure", axes: "Axes", entries: int) -> None:
    """Say above the plot, where nothing is drawn, whose line is which; not of one alone."""
    if entries < 2:
        return
    figure.subplots_adjust(top=0.97 - 0.07 * -(-entries // 2))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)


def _shortened(label: str) -> str:
    label = visible(label)
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 3]}..."


def _rendered(figure: "Figure") -> Plot:
    svg = io.StringIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return Plot(svg.getvalue(), png(figure))
