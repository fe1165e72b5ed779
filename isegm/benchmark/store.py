"""What the store costs through which a run's processes take their samples.

New processes import this module, so it imports little.
"""

import itertools
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from threading import Barrier

from torch.distributed import TCPStore  # type: ignore[attr-defined] # public, not in __all__

CLIENTS = 8
"""Processes that ask the store together, to find out how many requests it serves a second."""

REQUESTS = 80_000
"""Requests that are timed: enough for all processes to be at it for most of the time, also on few cores."""

START_SECONDS = 600
"""Processes that are to start together wait so long for the slowest to be ready."""


def measure_round_trip() -> float:
    """Seconds that one process waits for the answer to one request, when nobody else asks: the median."""
    (answered,) = time_requests(1)
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(answered))


def measure_rate() -> float:
    """Requests that the store serves a second when processes ask it together as fast as they can."""
    return rate_of(time_requests(CLIENTS))


def rate_of(answered: Sequence[Sequence[float]]) -> float:
    """Requests a second, from when the first process begins to when the last one has ended.

    Args:
        answered: By process when it began and, in order, when each of its requests was answered; seconds.
    """
    requests = sum(len(own) - 1 for own in answered)
    return requests / (max(own[-1] for own in answered) - min(own[0] for own in answered))


def time_requests(clients: int, requests: int = REQUESTS) -> list[list[float]]:
    """Let processes ask one store together, which counts for them.

    Args:
        clients: How many processes; they begin when all are ready.
        requests: Of all together.

    Returns:
        By process when it began, and when each of its requests was answered: seconds of the system's clock,
        which is the same in all of them.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(clients)
    with ProcessPoolExecutor(clients, context, _wait_for, (start,)) as pool:
        jobs = [pool.submit(_ask, store.port, requests // clients) for _ in range(clients)]
        return [job.result() for job in jobs]


_start: Barrier


def _wait_for(start: Barrier) -> None:
    """In a new process: keep what it waits for, before it is timed."""
    global _start
    _start = start


def _ask(port: int, count: int) -> list[float]:
    store = TCPStore("127.0.0.1", port, is_master=False)
    store.add("taken", 1)  # connected from here on
    _start.wait(START_SECONDS)
    answered = [time.monotonic()]
    for _ in range(count):
        store.add("taken", 1)
        answered.append(time.monotonic())
    return answered
