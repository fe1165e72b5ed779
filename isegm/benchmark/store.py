"""What the store costs through which a run's processes take their samples.

New processes import this module, so it imports little.
"""

import math
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from threading import Barrier

from torch.distributed import TCPStore  # type: ignore[attr-defined] # public, not in __all__

CLIENTS = 8
"""Processes that ask the store together, to find out how many requests it serves a second."""

REQUESTS = 4000
"""Requests that are timed."""

START_SECONDS = 600
"""Processes that are to start together wait so long for the slowest to be ready."""


def measure_round_trip() -> float:
    """Seconds that one process waits for the answer to one request, when nobody else asks: the median."""
    (waits,) = time_requests(1)
    return statistics.median(waits)


def measure_rate() -> float:
    """Requests that the store serves a second when processes ask it together as fast as they can."""
    return sum(len(waits) / math.fsum(waits) for waits in time_requests(CLIENTS))


def time_requests(clients: int, requests: int = REQUESTS) -> list[list[float]]:
    """Let processes ask one store together, which counts for them.

    Args:
        clients: How many processes; they begin when all are ready.
        requests: Of all together.

    Returns:
        Seconds that each request took, by process.
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
    waits = []
    for _ in range(count):
        asked = time.perf_counter()
        store.add("taken", 1)
        waits.append(time.perf_counter() - asked)
    return waits
