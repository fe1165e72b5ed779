"""Measures of single evaluations, and their means over a network's samples of a data set.

With several seeds a sample's value is its mean over the seeds: samples are what a bootstrap draws, and seeds
of one sample are no new samples. How far seeds differ is shown apart, as the spread of the data set's mean.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from isegm.evaluation import figures
from isegm.evaluation.figures import THRESHOLDS
from isegm.evaluation.record import SampleResult, VolumeResult
from isegm.metrics.bootstrap import bootstrap_band
from isegm.metrics.curves import DICE_CLICKS, area_under_curve
from isegm.metrics.noc import failed, noc
from isegm.plots import Values
from isegm.report.stored_run import Group, Run

Measure = Callable[[SampleResult], float]


def mean_of(values: Iterable[float]) -> float:
    """Return the mean of the defined values; NaN if there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


def by_sample(group: Group, measure: Measure) -> Values:
    """Return the measure of each sample, (n,): the mean over the seeds where it is defined, else NaN."""
    return np.array([mean_of([measure(line) for line in lines]) for lines in group.samples], np.float64)


def by_seed(group: Group, measure: Measure) -> Values:
    """Return the data set's mean for each seed that has a sample, (seeds,)."""
    means = [
        mean_of([measure(line) for line in group.lines() if line.seed == seed])
        for seed in group.seeds
        if any(line.seed == seed for line in group.lines())
    ]
    return np.array(means, np.float64)


def mean(group: Group, measure: Measure) -> float:
    """Return the mean over the samples where it is defined; NaN if there are none."""
    return mean_of(by_sample(group, measure))


def spread(group: Group, measure: Measure) -> float:
    """Return the standard deviation (divisor n - 1) of the data set's mean over seeds; NaN for one seed."""
    means = by_seed(group, measure)
    means = means[~np.isnan(means)]
    return float(means.std(ddof=1)) if means.size > 1 else math.nan


def curves(group: Group, scores: Callable[[SampleResult], Sequence[float]]) -> Values:
    """Return each sample's curve, (n, clicks): the mean over its seeds."""
    return np.array(
        [np.mean([scores(line) for line in lines], axis=0) for lines in group.samples], np.float64
    )


def mean_curve(samples: Values) -> tuple[Values, Values, Values]:
    """Return the mean of curves (n, clicks) after each click, and the ends of its 95 % band."""
    low, high = bootstrap_band(samples)
    return samples.mean(axis=0), low, high


def scores_of(line: SampleResult) -> Sequence[float]:
    """Return IoU or Dice, whichever the protocol counts, after each click."""
    return line.scores


def ious_of(line: SampleResult) -> Sequence[float]:
    """Return IoU after each click."""
    return line.ious


def challenge_nsds(line: SampleResult) -> Sequence[float]:
    """Return a volume's surface Dice after each of the challenge's clicks; none where it does not apply."""
    return line.nsds if isinstance(line, VolumeResult) else ()


def challenge_dices(line: SampleResult) -> Sequence[float]:
    """Return a volume's Dice after each of the challenge's clicks; none where it does not apply."""
    return line.dices[: len(challenge_nsds(line))]


# -- measures


def noc_at(threshold: float, line: SampleResult) -> float:
    """Return NoC at a threshold."""
    return noc(line.scores, threshold, len(line.scores))


def failed_at(threshold: float, line: SampleResult) -> float:
    """Return 1 if no click reached the threshold, else 0."""
    return float(failed(line.scores, threshold))


def at_limit_at(threshold: float, line: SampleResult) -> float:
    """Return 1 if NoC is the largest number of clicks, else 0."""
    return float(noc(line.scores, threshold, len(line.scores)) == len(line.scores))


def iou_after(clicks: int, line: SampleResult) -> float:
    """Return IoU after a number of clicks."""
    return line.ious[clicks - 1]


def dice_after(clicks: int, line: SampleResult) -> float:
    """Return Dice after a number of clicks."""
    return line.dices[clicks - 1]


def auc_iou(line: SampleResult) -> float:
    """Return the area under the IoU curve."""
    return area_under_curve(line.ious)


def auc_dice(line: SampleResult) -> float:
    """Return the area under the Dice curve."""
    return area_under_curve(line.dices)


def final_dice(line: SampleResult) -> float:
    """Return Dice of the final mask."""
    return line.final.dice


def final_hd95(line: SampleResult) -> float:
    """Return HD95 of the final mask in pixels; NaN where it is undefined."""
    return line.final.hd95


def final_nsd(line: SampleResult) -> float:
    """Return surface Dice of the final mask; NaN where it is undefined."""
    return line.final.nsd


def challenge_auc(values: Callable[[SampleResult], Sequence[float]], line: SampleResult) -> float:
    """Return the area under the curve of values after the challenge's clicks, 0 to 4."""
    return figures.challenge_auc(values(line))


def challenge_final(values: Callable[[SampleResult], Sequence[float]], line: SampleResult) -> float:
    """Return the value after the last of the challenge's clicks."""
    return figures.challenge_final(values(line))


def slices_clicked(line: SampleResult) -> float:
    """Return the number of slices that were clicked on; NaN of a picture."""
    return line.slices if isinstance(line, VolumeResult) else math.nan


def seconds_in_all(line: SampleResult) -> float:
    """Return the seconds of all clicks."""
    return sum(line.seconds)


def clicks_placed(line: SampleResult) -> float:
    """Return the number of clicks that were placed."""
    return len(line.clicks)


def known_thresholds(run: Run) -> list[float]:
    """Return the table's thresholds up to the target: NoC is not known beyond."""
    return [threshold for threshold in THRESHOLDS if threshold <= run.target]


def main_threshold(run: Run) -> float:
    """Return the threshold of the figures that are shown first: 0.9, or the target if that is lower."""
    return min(0.9, run.target)


def dice_clicks(run: Run) -> list[int]:
    """Return the numbers of clicks after which Dice is shown."""
    return [click for click in DICE_CLICKS if click <= run.n_clicks]


def robustness(run: Run) -> dict[str, Measure]:
    """Return the measures whose spread over seeds is shown, by name."""
    nocs = {f"NoC@{t * 100:g}": partial(noc_at, t) for t in known_thresholds(run) if t >= 0.85}
    dices = {f"Dice@{click}": partial(dice_after, click) for click in dice_clicks(run)}
    return {**nocs, **dices, "AUC IoU": auc_iou, "AUC Dice": auc_dice}
