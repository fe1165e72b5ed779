"""The picture of how cost grows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isegm.plots import COLOURS, INK, png, style
from isegm.storage import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_growth(path: Path, result: Mapping[str, Any]) -> None:
    """Draw what ``isegm.benchmark.growth`` measured: times, and clicks a second.

    Numbers are on logarithmic axes, and times too where they grow with the size.

    Args:
        path: The PNG to write, whole or not at all.
        result: What ``measure_growth`` returns.
    """
    with style():
        write_bytes(path, png(_draw(result)))


def _draw(result: Mapping[str, Any]) -> "Figure":
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure(figsize=(12, 7.4), layout="constrained")
    figure.suptitle(f"{result['name']}: how cost grows", x=0.01, ha="left", fontsize=14)
    modes = dict.fromkeys(row["mode"] for row in result["clicks"])
    colours = dict(zip(modes, (INK, *COLOURS), strict=False))  # the reference's, then the backends'
    panels = (
        ("clicks", "clicks", "Clicks placed before", "Further click (ms)", "further_click_ms"),
        ("sizes", "size", "Shorter side of the input (pixels)", "First click (ms)", "first_click_ms"),
        ("sizes", "size", "Shorter side of the input (pixels)", "Further click (ms)", "further_click_ms"),
        ("views", "views", "Pictures in one call", "First stage (ms a picture)", "encode_ms"),
        ("views", "views", "Pictures in one call", "Correction head (ms a picture)", "correct_ms"),
        ("rates", "cores", "Threads, or processes of one thread", "Further clicks/s, together", "rate"),
    )
    for axes, (part, x, x_label, y_label, y) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        rows = _rates(result) if part == "rates" else result[part]
        for mode, colour in colours.items():
            for kind, line in (("threads", "o-"), ("processes", "s--")):
                own = [r for r in rows if r["mode"] == mode and r.get("kind", "threads") == kind]
                if own:
                    label = f"{mode}, {kind}" if part == "rates" else mode
                    points = [row[x] for row in own], [_height(row[y]) for row in own]
                    axes.plot(*points, line, color=colour, markersize=4, label=label)
        ticks = sorted({row[x] for row in rows})
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlim(ticks[0] / 1.15, ticks[-1] * 1.15)
        if part == "sizes":
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(LogFormatter())  # 60, not 6 x 10^1
            axes.yaxis.set_minor_formatter(LogFormatter())
        else:  # what hardly grows is to look so
            axes.set_ylim(0, 1.35 * axes.dataLim.ymax)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.grid(which="both")
        axes.legend()
    return figure


def _height(value: float | Mapping[str, float]) -> float:
    return value["median"] if isinstance(value, Mapping) else value


def _rates(result: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Further clicks a second by the cores that are used, as threads of one process or as processes."""
    return [
        {
            "mode": row["mode"],
            "kind": "threads",
            "cores": row["threads"],
            "rate": 1000 / row["further_click_ms"]["median"],
        }
        for row in result["threads"]
    ] + [
        {
            "mode": row["mode"],
            "kind": "processes",
            "cores": row["processes"],
            "rate": row["clicks_per_second"],
        }
        for row in result["processes"]
    ]
