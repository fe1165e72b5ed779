"""Cells of the pages' tables: measures of a network on a data set, with how sure they are."""

from collections.abc import Sequence

import numpy as np

from isegm.metrics.bootstrap import RESAMPLES, Interval, mean_intervals
from isegm.report import measures
from isegm.report.measures import Measure
from isegm.report.stored_run import Group
from isegm.tables import UNDEFINED, Cell, format_interval, format_number

BANDS = f"Intervals and bands: 95 % bootstrap over samples (percentiles of {RESAMPLES:,} resamples)."


def mean_cells(group: Group, columns: Sequence[tuple[Measure, int]]) -> list[Cell]:
    """Return the means of measures, each with its interval and a number of digits after the point."""
    found = mean_intervals([measures.by_sample(group, measure) for measure, _ in columns])
    return [interval_cell(mean, f".{digits}f") for mean, (_, digits) in zip(found, columns, strict=True)]


def interval_cell(found: Interval, spec: str) -> Cell:
    """Return a mean and its interval."""
    return Cell(format_number(found.mean, spec), format_interval(found.low, found.high, spec))


def median_cell(group: Group, measure: Measure, digits: int) -> Cell:
    """Return the median over samples, and the quartiles."""
    values = measures.by_sample(group, measure)
    values = values[~np.isnan(values)]
    if not values.size:
        return Cell(UNDEFINED)
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return Cell(format_number(middle, f".{digits}f"), format_interval(low, high, f".{digits}f"))


def total(group: Group, measure: Measure) -> str:
    """Count the samples whose measure, 0 or 1, is 1; with several seeds return the mean count."""
    found = float(measures.by_sample(group, measure).sum())
    return f"{found:.0f}" if found.is_integer() else f"{found:.1f}"
