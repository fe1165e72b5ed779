"""How sure a mean over samples is: percentile bootstrap intervals, of one mean or of many at once."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 10_000
"""Of every interval that a tool gives; see docs/metrics.md."""
SEED = 0
LEVEL = 0.95

# Bounds the memory of the draws (8 bytes each, a few times over), however many samples there are.
_DRAWS_AT_ONCE = 1_000_000


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
    defined = values[~np.isnan(values)]
    if not defined.size:
        return Interval(math.nan, math.nan, math.nan)
    low, high = bootstrap_band(defined[:, None])
    return Interval(float(defined.mean()), float(low[0]), float(high[0]))


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
