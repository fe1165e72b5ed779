"""What a run of many ranks takes, by simulation: samples handed out one by one, or dealt out beforehand.

A rank works on one sample at a time. Its speed is 1 or less: a sample's seconds are divided by it. All begin
after the same start-up.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a run costs beside its samples, in seconds.

    Attributes:
        start_up: From a rank's start until it asks for its first sample.
        service: For which the store, being one process, is taken by one sample's requests.
        latency: For which a rank waits for them besides, even where it is alone.
    """

    start_up: float = 0.0
    service: float = 0.0
    latency: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        wall: Seconds until the last rank has finished.
        busy: Seconds that each rank spent on samples, (ranks,).
        taken: How many samples each rank computed, (ranks,).
    """

    wall: float
    busy: Seconds
    taken: npt.NDArray[np.int64]

    @property
    def worst_idle(self) -> float:
        """The largest share of the time that a rank spent on no sample; 0 where there was no time."""
        return float(1 - self.busy.min() / self.wall) if self.wall else 0.0


def hand_out_one_by_one(seconds: Seconds, speeds: Sequence[float], costs: Costs) -> Outcome:
    """Give each sample, in order, to the rank that asks first.

    The store serves ranks in the order in which they ask, one after the other; who comes while it serves
    another waits. All requests for a sample are taken as one, before it. Ranks that ask at the same time come
    in their order.

    Args:
        seconds: Of each sample at speed 1, (samples,), in the order of handing out.
        speeds: Of each rank.
        costs: What else takes time.
    """
    asking = [(costs.start_up, rank) for rank in range(len(speeds))]  # a heap, for all times are equal
    free_from = 0.0
    busy, taken = np.zeros(len(speeds)), np.zeros(len(speeds), np.int64)
    wall = costs.start_up
    for work in seconds.tolist():
        asked, rank = asking[0]
        free_from = max(asked, free_from) + costs.service
        own = work / speeds[rank]
        ended = free_from + costs.latency + own
        heapq.heapreplace(asking, (ended, rank))
        busy[rank] += own
        taken[rank] += 1
        wall = max(wall, ended)
    return Outcome(wall, busy, taken)


def deal_out(seconds: Seconds, speeds: Sequence[float], costs: Costs, *, in_blocks: bool) -> Outcome:
    """Give each rank its samples beforehand; nobody asks for anything.

    Args:
        seconds: Of each sample at speed 1, (samples,), in the order of the data set.
        speeds: Of each rank.
        costs: What else takes time; only the start-up does here.
        in_blocks: Whether a rank gets neighbours, blocks differing by one at most; else it gets every n-th
            of n ranks.
    """
    ranks = len(speeds)
    parts = np.array_split(seconds, ranks) if in_blocks else [seconds[rank::ranks] for rank in range(ranks)]
    busy = np.array([part.sum() / speed for part, speed in zip(parts, speeds, strict=True)])
    taken = np.array([part.size for part in parts], np.int64)
    return Outcome(float(costs.start_up + busy.max()), busy, taken)


def ideal_wall(seconds: Seconds, speeds: Sequence[float]) -> float:
    """Seconds that no run can be faster than: all ranks at work from beginning to end, at no other cost."""
    return float(seconds.sum() / sum(speeds))
