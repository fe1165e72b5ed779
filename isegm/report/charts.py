"""Plots as PNG, as SVG, and as SVG within a page whose colours the page decides."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isegm.report.measures import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#2f74d0", "#d9722e", "#2b9a76", "#b8509a", "#8a7a1f", "#6a5fd0", "#c2404e", "#2a93a8")
"""Of lines and bars, dark enough for white paper and light enough for a dark page."""

INK, RULE, PAPER = "#23272e", "#d5d9df", "#fffffe"
_VARIABLES = {INK: "var(--ink)", RULE: "var(--rule)", PAPER: "var(--paper)"}
"""Colours that a page replaces by its own; no line or bar has one of them."""

_SIZE = 4.8, 3.1
_LABEL = 32
"""Characters of a name that a legend has room for."""
_STYLES = ("-", "--", "-.", ":")
_RC: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and is set in the page's own font
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
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
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

    @property
    def inline(self) -> str:
        """The SVG for a page: as wide as its place, in the page's font and its colours for ink and paper."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r' (width|height)="[^"]*pt"', "", svg, count=2)
        for colour, variable in _VARIABLES.items():
            svg = svg.replace(colour, variable)
        return svg.replace("<svg", '<svg role="img"', 1).strip()


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


def plot_curves(curves: Sequence[Curve], measure: str, target: float) -> Plot:
    """Draw mean IoU or Dice against clicks, each with its 95 % band.

    Args:
        curves: One at least.
        measure: What it is the mean of.
        target: Where clicking stopped, marked if it lies in the plot.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_RC):
        figure = Figure(figsize=_SIZE)
        figure.subplots_adjust(left=0.12, right=0.98, top=0.97, bottom=0.15)
        axes = figure.add_subplot()
        longest = max(len(curve.mean) for curve in curves)
        for number, curve in enumerate(curves):
            clicks = np.arange(1, len(curve.mean) + 1)
            colour, style = COLOURS[number % len(COLOURS)], _STYLES[number // len(COLOURS) % len(_STYLES)]
            if not np.isnan(curve.low).any():
                axes.fill_between(clicks, curve.low, curve.high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(
                clicks,
                curve.mean,
                style,
                color=colour,
                linewidth=1.8,
                marker="o",
                markersize=3,
                label=_shortened(curve.label),
            )
        lowest = min(float(np.nanmin([curve.mean, curve.low])) for curve in curves)
        axes.set_ylim(max(0.0, np.floor(lowest * 10 - 0.2) / 10), 1.005)
        axes.set_xlim(0.5, longest + 0.5)
        if target <= 1:
            axes.axhline(target, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
            axes.text(longest + 0.4, target - 0.005, "target", fontsize=9, ha="right", va="top")
        axes.set_xlabel("clicks")
        axes.set_ylabel(f"mean {measure}")
        axes.set_xticks(_ticks(longest))
        axes.grid(color=RULE, linewidth=0.6)
        _add_legend(figure, axes, len(curves))
        return _rendered(figure)


def plot_histograms(histograms: Sequence[Histogram], counted: str) -> Plot:
    """Draw how many samples needed how many clicks; those that none solved stand apart at the right.

    Args:
        histograms: One at least, all of one number of clicks.
        counted: What is counted, for the axis.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    clicks = len(histograms[0].counts)
    width = 0.84 / len(histograms)
    apart = clicks + 1 + max(0.6, 0.08 * clicks)
    with rc_context(_RC):
        figure = Figure(figsize=_SIZE)
        figure.subplots_adjust(left=0.12, right=0.98, top=0.97, bottom=0.15)
        axes = figure.add_subplot()
        for number, histogram in enumerate(histograms):
            colour = COLOURS[number % len(COLOURS)]
            shift = (number - (len(histograms) - 1) / 2) * width
            axes.bar(
                np.arange(1, clicks + 1) + shift,
                histogram.counts,
                width,
                color=colour,
                label=_shortened(histogram.label),
            )
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
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        _add_legend(figure, axes, len(histograms))
        return _rendered(figure)


def _ticks(clicks: int) -> list[int]:
    """Where an axis of so many clicks has its numbers: at the first click, and at some round ones."""
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if clicks / step <= 6)
    return [1, *range(max(2, step), clicks + 1, step)]


def _add_legend(figure: "Figure", axes: "Axes", entries: int) -> None:
    """Say above the plot, where nothing is drawn, whose line is which; not of one alone."""
    if entries < 2:
        return
    figure.subplots_adjust(top=0.97 - 0.07 * -(-entries // 2))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=9, borderaxespad=0.2)


def _shortened(label: str) -> str:
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 3]}..."


def _rendered(figure: "Figure") -> Plot:
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=150, facecolor="white")
    return Plot(svg.getvalue(), png.getvalue())
