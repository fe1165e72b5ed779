"""Tables of text."""

from collections.abc import Sequence
from typing import Any


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table in columns of fixed width: the first to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([text[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *text[1:]])


def cell(value: float | None, spec: str, unit: str = "") -> str:
    """A number as a table shows it; ``-`` where there is none."""
    return "-" if value is None else format(value, spec) + unit


def quartiles(spread: dict[str, Any]) -> str:
    """The quartiles of :func:`isegm.benchmark.timing.milliseconds`, as ``12.3-14.5``."""
    return "-" if spread["median"] is None else f"{spread['q1']:.1f}-{spread['q3']:.1f}"
