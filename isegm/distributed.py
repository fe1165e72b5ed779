"""Several processes doing one job: who takes which sample, and how results come back in order.

Samples are handed out one by one, through the processes' common store, to whoever is free: a slow process or
a large image holds nobody up. What a sample's result is never depends on who computed it, so neither do the
results on the number of processes.

``python``, ``torchrun`` and ``torch.distributed.launch`` all work; the launchers say who is who by
environment variables (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE).
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined] # public, not in __all__
from torch.distributed.rendezvous import rendezvous

from isegm.errors import InputError

T = TypeVar("T")


class Processes:
    """The processes of a run, as one of them sees them.

    Args:
        rank: This process's number, 0 to ``size - 1``; 0 prints and writes what belongs to the whole run.
        size: How many processes there are on all nodes.
        local_rank: This process's number on its node.
        local_size: How many processes there are on this node.
        store: Where the processes meet; None if there is one only.
    """

    def __init__(self, rank: int, size: int, local_rank: int, local_size: int, store: Store | None) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.local_size = local_size
        self._store = store
        self._counters: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, counter: str, amount: int = 1) -> int:
        """Add to a counter that all processes share and return its new value; it starts at 0."""
        with self._lock:
            if self._store is not None:
                return int(self._store.add(counter, amount))
            self._counters[counter] = self._counters.get(counter, 0) + amount
            return self._counters[counter]

    def hand_out(self, job: str, count: int) -> Iterator[int]:
        """Take numbers from 0 to ``count - 1`` until all are taken; no other taker gets the same.

        Any number of threads and processes may take from the same ``job`` at once.
        """
        while (index := self.add(f"{job}/taken") - 1) < count:
            yield index

    def from_first(self, value: T) -> T:
        """Give everyone the value that process 0 holds."""
        if self._store is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, results: dict[int, T]) -> dict[int, T] | None:
        """Collect everyone's results by sample number, in order, at process 0; None elsewhere."""
        if self._store is None:
            return dict(sorted(results.items()))
        parts: list[dict[int, T]] | None = [{} for _ in range(self.size)] if self.rank == 0 else None
        dist.gather_object(results, parts, dst=0)
        if parts is None:
            return None
        return dict(sorted((index, result) for part in parts for index, result in part.items()))


@contextlib.contextmanager
def join_processes(device: torch.device) -> Iterator[Processes]:
    """Meet the run's other processes, and part from them at the end.

    Args:
        device: What this process computes on; the group then speaks NCCL for tensors there, and gloo on the
            CPU.

    Raises:
        InputError: The launcher's environment variables are incomplete, contradictory or no numbers.
    """
    rank, size, local_rank, local_size = launched_as()
    if size == 1:
        yield Processes(rank, size, local_rank, local_size, None)
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise InputError(
            f"environment variable {missing[0]}: needed by {size} processes; start them by torchrun"
        )
    store, rank, size = next(rendezvous("env://"))
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield Processes(rank, size, local_rank, local_size, PrefixStore("isegm", store))
    finally:
        # NCCL wants it; of gloo, torch 2.6 may hang in it where the others have left already.
        if device.type == "cuda":
            dist.destroy_process_group()


def launched_as() -> tuple[int, int, int, int]:
    """Who this process is: rank, number of processes, local rank, number of processes on this node.

    Raises:
        InputError: The launcher's environment variables are no numbers, or contradict each other.
    """

    def number(name: str, default: int) -> int:
        text = os.environ.get(name, str(default))
        if not text.isdecimal():
            raise InputError(f"environment variable {name}: must be a whole number, not {text!r}")
        return int(text)

    rank, size = number("RANK", 0), number("WORLD_SIZE", 1)
    local_rank, local_size = number("LOCAL_RANK", rank), number("LOCAL_WORLD_SIZE", size)
    for name, its_number, count in (("RANK", rank, size), ("LOCAL_RANK", local_rank, local_size)):
        if its_number >= count:
            raise InputError(
                f"environment variable {name}: {its_number} is no number of one of {count} processes"
            )
    return rank, size, local_rank, local_size


def choose_device(
    gpus: Sequence[int] | None, *, cpu: bool, local_rank: int, local_size: int
) -> tuple[torch.device, str | None]:
    """Choose what this process computes on, before anything starts.

    Args:
        gpus: GPUs of this node that may be used, one a process; None for the first ones.
        cpu: Use the CPU whatever there is.
        local_rank: This process's number on its node.
        local_size: How many processes there are on this node.

    Returns:
        The device, and a warning if it is not what was asked for.

    Raises:
        InputError: There are fewer GPUs than were named, or fewer than processes; or no such process.
    """
    if not 0 <= local_rank < local_size:
        raise InputError(f"--local-rank: {local_rank} is no number of one of {local_size} processes")
    if cpu:
        return torch.device("cpu"), None
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if there == 0:
        return torch.device("cpu"), "no GPU is usable here: computing on the CPU (--cpu asks for it)"
    wanted = list(range(local_size)) if gpus is None else list(gpus)
    missing = [gpu for gpu in wanted if gpu >= there]
    if missing:
        raise InputError(f"--gpus: GPU {missing[0]} was asked for, but there are {there}, numbered from 0")
    if local_size > len(wanted):
        raise InputError(f"--gpus: {local_size} processes need as many GPUs, not {len(wanted)}")
    return torch.device("cuda", wanted[local_rank]), None


def cores_for(local_size: int) -> int:
    """This process's share of the node's cores, when ``local_size`` processes share them; at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // local_size)
