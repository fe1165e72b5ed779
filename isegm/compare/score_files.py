"""The reports of a comparison: a CSV row an image, a JSON summary, a table for the terminal."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Any

from isegm.compare.scores import Scores
from isegm.compare.summary import Summary
from isegm.storage import write_csv, write_text
from isegm.tables import UNDEFINED, format_interval, format_number, text_table

_COLUMNS = ("metric", "mean", "std", "median", "95 % interval", "n", "undefined")


def write_rows(path: Path, rows: Sequence[Scores]) -> None:
    """Write one CSV row an image, whole or not at all; numbers in full, undefined ones as ``nan``."""
    write_csv(path, [[field.name for field in fields(Scores)], *map(astuple, rows)])


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
    rows = [
        [
            metric,
            *(format_number(value, ".4f") for value in (summary.mean, summary.std, summary.median)),
            format_interval(*summary.ci95, ".4f") or UNDEFINED,
            str(summary.n),
            str(summary.undefined),
        ]
        for metric, summary in summaries.items()
    ]
    return text_table(_COLUMNS, rows)


def _without_nan(content: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content
