"""How sure a mean over samples is: percentile bootstrap intervals, of one mean or of many at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
"""Of every interval that a tool gives; see docs/metrics.md."""
SEED = 0
LEVEL = 0.95

# Few enough draws (8 bytes each) to stay in a processor's cache, however many samples there are: of 20,000
# samples intervals take half the time that they take with a million draws at once.
_DRAWS_AT_ONCE = 2**16


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % interval, NaN where too few samples say nothing about it."""

    mean: float
    low: float
    high: float


def mean_interval(values: npt.NDArray[np.float64]) -> Interval:
    """The mean of a measure over samples, with its 95 % percentile-bootstrap interval.

    Args:
        values: (n,); NaN is undefined and left out.

    Returns:
        Ends are NaN for fewer than two defined values, the mean for none.
    """
    (interval,) = mean_intervals([values])
    return interval


def mean_intervals(measures: Sequence[npt.NDArray[np.float64]]) -> list[Interval]:
    """As :func:`mean_interval` for several measures of the same samples, in little more than the time of one.

    Args:
        measures: (n,) each; NaN is undefined and left out. Measures that are defined on the same samples
            share their draws, which are those of each alone.
    """
    intervals = [Interval(math.nan, math.nan, math.nan)] * len(measures)
    alike: dict[bytes, list[int]] = {}
    for position, values in enumerate(measures):
        alike.setdefault(np.isnan(values).tobytes(), []).append(position)
    for positions in alike.values():
        columns = [measures[position][~np.isnan(measures[position])] for position in positions]
        if columns[0].size:
            ends = zip(*bootstrap_band(np.stack(columns, axis=1)), strict=True)
            for position, values, (low, high) in zip(positions, columns, ends, strict=True):
                intervals[position] = Interval(float(values.mean()), float(low), float(high))
    return intervals


def bootstrap_band(
    values: npt.NDArray[np.float64], resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The 95 % percentile-bootstrap interval of each column's mean, samples being drawn as whole rows.

    The draws are the same for the same number of samples and seed. They name samples by their position: in
    another order of the samples the ends differ as they would with another seed, and the means not at all.

    Args:
        values: (n, k) without NaN: k measures of each of n samples, such as IoU after each click.
        resamples: How often n samples are drawn, with replacement.
        seed: Of the draws.

    Returns:
        The lower and upper ends, (k,) each; NaN for fewer than two samples.
    """
    samples, measures = values.shape
    if samples < 2:
        return np.full(measures, math.nan), np.full(measures, math.nan)
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // samples)
    means = [
        _draws(generator, min(at_once, resamples - done), samples) @ values / samples
        for done in range(0, resamples, at_once)
    ]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail), axis=0)
    return low, high


def _draws(generator: np.random.Generator, resamples: int, samples: int) -> npt.NDArray[np.float64]:
    """How often each sample was drawn in each resample, (resamples, samples)."""
    drawn = generator.integers(samples, size=(resamples, samples))
    drawn += np.arange(resamples)[:, None] * samples  # a counter of its own for each resample
    counts = np.bincount(drawn.ravel(), minlength=resamples * samples)
    return counts.reshape(resamples, samples).astype(np.float64)
