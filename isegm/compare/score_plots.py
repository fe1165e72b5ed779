"""Scatter plots of a metric against the area of the object."""

import math
from collections.abc import Sequence
from pathlib import Path

from isegm.compare.scores import Scores
from isegm.plots import COLOURS, png, style
from isegm.storage import write_bytes


def plot_against_area(path: Path, rows: Sequence[Scores], metric: str, organ: str) -> None:
    """Draw one point an included image: the metric (in [0, 1]) over the true area.

    The area is in mm² or mm³ where every image has a spacing and as many axes, else in pixels. Its axis is
    logarithmic where areas span more than a factor of 100. Undefined values are not drawn but counted below
    the title, with the mean.

    Args:
        path: The PNG to write, whole or not at all.
        rows: Scores of all images.
        metric: A field of :class:`Scores`.
        organ: For the title.
    """
    from matplotlib.figure import Figure

    included = [row for row in rows if row.included]
    drawn = [row for row in included if not math.isnan(getattr(row, metric))]
    areas, unit = _areas(drawn)
    values = [getattr(row, metric) for row in drawn]

    with style():
        figure = Figure(figsize=(6.4, 4.4))
        figure.subplots_adjust(left=0.11, right=0.97, top=0.86, bottom=0.13)
        axes = figure.add_subplot()
        axes.scatter(
            areas, values, s=26, color=COLOURS[0], alpha=0.65, edgecolors="white", linewidths=0.5, zorder=3
        )
        positive = [area for area in areas if area > 0]
        if positive and max(positive) > 100 * min(positive):
            if 0 in areas:  # an empty truth has a precision, but its area no logarithm
                axes.set_xscale("symlog", linthresh=min(positive))
            else:
                axes.set_xscale("log")
            axes.xaxis.set_minor_formatter("")
        axes.xaxis.set_major_formatter("{x:,.10g}")
        axes.set_xlim(None if drawn else (0, 1))
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel(f"True area ({unit})")
        axes.set_ylabel(metric.capitalize())
        caption = f"n = {len(drawn)}"
        if values:
            mean = math.fsum(values) / len(values)
            axes.axhline(mean, color=COLOURS[1], linewidth=1, linestyle="--")
            caption += f", mean {mean:.3f} (dashed)"
        if len(drawn) < len(included):
            caption += f", {len(included) - len(drawn)} undefined"
        figure.suptitle(f"{organ}: {metric} against area", x=0.11, y=0.97, ha="left", fontsize=13)
        axes.set_title(caption, loc="left", fontsize=9)
        write_bytes(path, png(figure))


def _areas(rows: Sequence[Scores]) -> tuple[list[float], str]:
    kinds = {(row.unit, row.axes) for row in rows}
    if kinds == {("mm", 2)}:
        return [row.truth_area_mm for row in rows], "mm²"
    if kinds == {("mm", 3)}:
        return [row.truth_area_mm for row in rows], "mm³"
    return [float(row.truth_area_px) for row in rows], "voxels" if kinds == {("px", 3)} else "pixels"
