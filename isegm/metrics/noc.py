"""NoC, the number of clicks until a mask is good enough.

``NoC@t`` of a sample is the first click (counted from 1) after which IoU >= t, or the largest number of
clicks allowed if none gets there. A sequence may be shorter than that number, because an evaluation stops
once its target is reached or no click is left to place; it then counts as carried on at its last value. So
sequences cut at a target of 0.9 answer for thresholds up to 0.9, not above.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class NocSummary:
    """NoC over the samples of a data set, for one threshold.

    Attributes:
        threshold: The IoU asked for, t.
        max_clicks: The largest number of clicks allowed.
        samples: How many samples there are.
        mean: Mean NoC@t.
        at_limit: Samples whose NoC is ``max_clicks``: the published ">=20@t", which also counts those that
            the last click solved.
        failures: Samples that never reached the threshold; at most ``at_limit``.
    """

    threshold: float
    max_clicks: int
    samples: int
    mean: float
    at_limit: int
    failures: int


def noc(ious: Sequence[float], threshold: float, max_clicks: int) -> int:
    """The first click whose IoU reaches the threshold, or ``max_clicks`` if none does.

    Args:
        ious: IoU after click 1, 2, ...; at least one value, at most ``max_clicks``. NaN reaches nothing.
        threshold: In (0, 1]; reached by an IoU equal to it.
        max_clicks: The largest number of clicks allowed, at least 1.

    Raises:
        ValueError: ``ious`` is empty or longer than ``max_clicks``, or the threshold is out of range.
    """
    if not 1 <= len(ious) <= max_clicks:
        raise ValueError(f"{len(ious)} IoU values for 1 to {max_clicks} clicks")
    return _first_reaching(ious, threshold) or max_clicks


def failed(ious: Sequence[float], threshold: float) -> bool:
    """Whether no click's IoU reaches the threshold: a failure proper, whatever NoC says.

    Raises:
        ValueError: The threshold is not in (0, 1].
    """
    return _first_reaching(ious, threshold) is None


def summarise_noc(sequences: Sequence[Sequence[float]], threshold: float, max_clicks: int) -> NocSummary:
    """Summarise the IoU sequences of a data set, one a sample, for one threshold.

    Raises:
        ValueError: There is no sample, or as :func:`noc`.
    """
    if not sequences:
        raise ValueError("there is no sample to take the mean NoC of")
    clicks = [noc(ious, threshold, max_clicks) for ious in sequences]
    return NocSummary(
        threshold=threshold,
        max_clicks=max_clicks,
        samples=len(clicks),
        mean=sum(clicks) / len(clicks),
        at_limit=clicks.count(max_clicks),
        failures=sum(failed(ious, threshold) for ious in sequences),
    )


def _first_reaching(ious: Sequence[float], threshold: float) -> int | None:
    if not 0 < threshold <= 1:
        raise ValueError(f"a threshold is in (0, 1], not {threshold}")
    return next((click for click, iou in enumerate(ious, start=1) if iou >= threshold), None)
