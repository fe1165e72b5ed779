"""From a column of numbers to its mean, spread and confidence interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isegm.compare.scores import Scores
from isegm.metrics.bootstrap import mean_interval

OVERLAP_METRICS = ("dice", "iou", "precision", "recall")
DISTANCE_METRICS = ("hd95", "nsd")


@dataclass(frozen=True)
class Summary:
    """One metric over many images. NaN marks what cannot be computed from so few.

    Attributes:
        mean: Of the defined values.
        std: Their sample standard deviation (divisor n - 1).
        median: Their median.
        ci95: Ends of the 95 % bootstrap interval of the mean.
        n: How many values are defined.
        undefined: How many are NaN; they enter nothing above.
    """

    mean: float
    std: float
    median: float
    ci95: tuple[float, float]
    n: int
    undefined: int


def summarise(values: Sequence[float]) -> Summary:
    """Summarise a metric, leaving undefined values (NaN) out and counting them."""
    column = np.asarray(values, np.float64)
    defined = column[~np.isnan(column)]
    interval = mean_interval(column)
    return Summary(
        mean=interval.mean,
        std=float(defined.std(ddof=1)) if defined.size > 1 else math.nan,
        median=float(np.median(defined)) if defined.size else math.nan,
        ci95=(interval.low, interval.high),
        n=int(defined.size),
        undefined=int(column.size - defined.size),
    )


def summarise_scores(rows: Sequence[Scores]) -> dict[str, Summary]:
    """Summarise every metric over the included rows.

    HD95 and NSD in mm are never mixed with those in pixels: their keys end on the unit (``hd95_mm``), and
    there is one for each unit that occurs.
    """
    included = [row for row in rows if row.included]
    summaries = {metric: summarise([getattr(row, metric) for row in included]) for metric in OVERLAP_METRICS}
    for unit in sorted({row.unit for row in included}):
        alike = [row for row in included if row.unit == unit]
        for metric in DISTANCE_METRICS:
            summaries[f"{metric}_{unit}"] = summarise([getattr(row, metric) for row in alike])
    return summaries
