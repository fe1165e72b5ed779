"""The reports of a comparison: a CSV row an image, a JSON summary, a table for the terminal."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from isegm.compare.scores import Scores
from isegm.compare.summary import Summary
from isegm.storage import write_text

COLUMNS = ("metric", "mean", "std", "median", "95 % interval", "n", "undefined")


def write_rows(path: Path, rows: Sequence[Scores]) -> None:
    """Write one CSV row an image, whole or not at all; numbers in full, undefined ones as ``nan``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Scores)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_text(path, text.getvalue())


def write_summary(path: Path, summaries: Mapping[str, Summary], details: Mapping[str, Any]) -> None:
    """Write the summary as JSON, whole or not at all; what is undefined becomes null.

    Args:
        path: Where to.
        summaries: By metric; they become the entry ``metrics``.
        details: Entries before it: what the figures depend on.
    """
    content = {**details, "metrics": {metric: asdict(summary) for metric, summary in summaries.items()}}
    text = json.dumps(_without_nan(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def table(summaries: Mapping[str, Summary]) -> str:
    """Lay the summaries out for the terminal, a line a metric, undefined figures as a dash."""
    lines = [COLUMNS] + [_cells(metric, summary) for metric, summary in summaries.items()]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines
    )


def _cells(metric: str, summary: Summary) -> tuple[str, ...]:
    low, high = (_short(end) for end in summary.ci95)
    return (
        metric,
        _short(summary.mean),
        _short(summary.std),
        _short(summary.median),
        "-" if low == "-" else f"{low} to {high}",
        str(summary.n),
        str(summary.undefined),
    )


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _without_nan(content: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content
