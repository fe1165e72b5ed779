"""Several processes doing one job: who takes which sample, and who waits for whom.

Samples are handed out one by one, through the processes' common store, to whoever is free: a slow process or
a large image holds nobody up. A sample's result never depends on who computed it, so the results do not
depend on the number of processes.

``python``, ``torchrun`` and ``torch.distributed.launch`` all work, and ``srun`` with a line that sets the
launchers' environment variables: RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE.
"""

import contextlib
import datetime
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from isegm.errors import InputError, SettingError

if TYPE_CHECKING:  # command lines import this room for their help, which is not to wait for torch
    import torch
    from torch.distributed import Store  # type: ignore[attr-defined] # public, not in __all__

_T = TypeVar("_T")

TIMEOUT_SECONDS = 1800.0
"""How long to wait for processes that give no sign of life."""

_LEAVE_SECONDS = 30.0
"""How long a process stays for the others at the end: process 0 may hold the store that they still ask."""


class Processes:
    """The processes of a run, as one of them sees them.

    They exchange text through their common store. Those that wait look up regularly, so that Ctrl-C works and
    a process that gives no sign of life is named.

    Args:
        rank: This process's number, 0 to ``size - 1``; 0 prints and writes what belongs to the whole run.
        size: How many processes there are on all nodes.
        local_rank: This process's number on its node.
        local_size: How many processes there are on this node.
        store: Where the processes meet; None if there is one only.
        timeout: Seconds to wait for processes that give no sign of life.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        local_rank: int,
        local_size: int,
        store: "Store | None",
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.local_size = local_size
        self.timeout = timeout
        self._store = store
        self._counters: dict[str, int] = {}
        self._notes: dict[str, str] = {}
        self._told = 0
        self._lock = threading.Lock()
        self.note("host", socket.gethostname())

    def add(self, counter: str, amount: int = 1) -> int:
        """Add to a counter that all processes share and return its new value; it starts at 0."""
        with self._lock:
            if self._store is not None:
                with _store_may_be_gone():
                    return int(self._store.add(counter, amount))
            self._counters[counter] = self._counters.get(counter, 0) + amount
            return self._counters[counter]

    def hand_out(self, job: str, count: int) -> Iterator[int]:
        """Take numbers from 0 to ``count - 1`` until all are taken; no other taker gets the same.

        Any number of threads and processes may take from the same ``job`` at once.
        """
        while (index := self.add(f"{job}/taken") - 1) < count:
            yield index

    def note(self, key: str, text: str) -> None:
        """Leave a note that every process can read; it replaces this process's earlier one."""
        with self._lock:
            if self._store is None:
                self._notes[key] = text
            else:
                with _store_may_be_gone():
                    self._store.set(f"{key}/{self.rank}", text)

    def noted(self, key: str, rank: int) -> str:
        """The note of one process; empty if it has left none."""
        with self._lock:
            if self._store is None:
                return self._notes.get(key, "")
            with _store_may_be_gone():
                name = f"{key}/{rank}"
                return self._store.get(name).decode() if self._store.check([name]) else ""

    def name_of(self, rank: int) -> str:
        """A process by number and host, for messages."""
        return f"process {rank} on {self.noted('host', rank) or 'a host that it has not named'}"

    def from_first(self, value: _T, what: str = "what to do") -> _T:
        """Give everyone the value that process 0 holds; the others wait for it.

        Args:
            value: Anything that JSON can hold; only process 0's counts.
            what: The value in words, for the message to those who wait in vain.

        Raises:
            InputError: Process 0 gave no sign of life for as long as the timeout says.
        """
        if self._store is None:
            return value
        key = f"told/{self._told}"
        self._told += 1
        if self.rank == 0:
            self.note(key, json.dumps(value))
            return value
        watch = SignsOfLife(self)
        pause = 0.01
        while not (text := self.noted(key, 0)):
            watch.look(what)
            time.sleep(pause)
            pause = min(1.0, 1.5 * pause)
        told: _T = json.loads(text)
        return told

    def gather(self, results: dict[int, _T]) -> dict[int, _T] | None:
        """Collect everyone's results by sample number, in order, at process 0; None elsewhere.

        Of processes that were joined with ``collectives``.

        Raises:
            InputError: A process has ended, or gave nothing for as long as the timeout says.
        """
        if self._store is None:
            return dict(sorted(results.items()))
        parts: list[dict[int, _T]] | None = [{} for _ in range(self.size)] if self.rank == 0 else None
        import torch.distributed as dist

        try:
            dist.gather_object(results, parts, dst=0)
        except RuntimeError as error:
            raise InputError(
                f"process {self.rank}: the others gave no results within {self.timeout:g} s "
                f"({_first_line(error)}); look what holds them, or allow more time"
            ) from error
        if parts is None:
            return None
        return dict(sorted((index, result) for part in parts for index, result in part.items()))

    def beat(self) -> None:
        """Give a sign of life, as process 0 does while the others may be waiting for it."""
        if self._store is not None:
            self.add("beats")

    def part(self) -> None:
        """Say that this process asks nothing more; process 0 stays until all others have said so."""
        if self._store is not None:
            self._come_to("left", wait=self.rank == 0)

    def all_done(self) -> bool:
        """Wait, though not for long, until every process has come here; whether all have."""
        return self._come_to("done", wait=True)

    def _come_to(self, place: str, *, wait: bool) -> bool:
        """Count this process as come to a place, and ``wait`` for all others; whether all have come."""
        end = time.monotonic() + min(_LEAVE_SECONDS, self.timeout)
        arrived = self.add(place)
        while wait and 0 < arrived < self.size:
            time.sleep(0.02)
            # Who goes on without the others lets them know, so that none waits for it in turn.
            arrived = self.add(place, 0 if time.monotonic() < end else -self.size)
        return arrived == self.size


class SignsOfLife:
    """Notices when process 0 hangs.

    Args:
        processes: As one of the others sees them.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._beats = -1
        self._since = time.monotonic()

    def look(self, what: str) -> None:
        """Look for a new sign.

        Args:
            what: The value that process 0 is to tell, in words.

        Raises:
            InputError: There was none for as long as the timeout says.
        """
        beats, now = self._processes.add("beats", 0), time.monotonic()
        if beats != self._beats:
            self._beats, self._since = beats, now
        elif now - self._since > self._processes.timeout:
            raise InputError(
                f"{self._processes.name_of(0)} has not told {what} for {self._processes.timeout:g} s: it "
                "hangs; look what it does there, or allow more time"
            )


@contextlib.contextmanager
def _store_may_be_gone() -> Iterator[None]:
    """Say in a line what it means when the store does not answer."""
    try:
        yield
    except RuntimeError as error:  # torch's DistError is one
        raise InputError(
            f"the processes' common store does not answer ({_first_line(error)}): the process "
            "that holds it has ended; its own message says why"
        ) from error


def _meet(store: "Store", rank: int, size: int, timeout: float) -> "Store":
    """Find the part of the store that belongs to this start of the processes.

    torchrun's store outlives the processes that it starts again, with all that earlier ones left in it, and
    of several nodes each counts its restarts for itself. So process 0 names the start by a token, which the
    others get by showing one of their own: no earlier start can have known either.

    Raises:
        InputError: The others did not come in time.
    """
    from torch.distributed import PrefixStore  # type: ignore[attr-defined] # public, not in __all__

    own = secrets.token_hex(8)
    token = own if rank == 0 else ""
    away = list(range(1, size))
    end = time.monotonic() + timeout
    if rank != 0:
        store.set(f"hello/{rank}", own)
    while not token or (rank == 0 and away):
        if time.monotonic() > end:
            whom = ", ".join(map(str, away)) if rank == 0 else "0"
            raise InputError(
                f"process {rank} waited {timeout:g} s for process {whom}; have all {size} been started?"
            )
        if rank == 0:
            for other in away:
                if store.check([f"hello/{other}"]):
                    store.set(f"welcome/{store.get(f'hello/{other}').decode()}", own)
            away = [other for other in away if not store.check([f"{own}/here/{other}"])]
        elif store.check([f"welcome/{own}"]):
            token = store.get(f"welcome/{own}").decode()
            store.set(f"{token}/here/{rank}", "")
            break
        time.sleep(0.02)
    return PrefixStore(token, store)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


@contextlib.contextmanager
def join_processes(
    device: "torch.device", *, timeout: float = TIMEOUT_SECONDS, collectives: bool = False
) -> Iterator[Processes]:
    """Meet the run's other processes, and part from them at the end.

    Args:
        device: The device that this process computes on.
        timeout: Seconds to wait for processes that give no sign of life.
        collectives: Make torch's process group, too, which adds up gradients: by NCCL for tensors on GPUs, by
            gloo on the CPU.

    Raises:
        InputError: The launcher's environment variables are incomplete, contradictory or no numbers.
    """
    rank, size, local_rank, local_size = launched_as()
    if size == 1:
        yield Processes(rank, size, local_rank, local_size, None, timeout)
        return
    import torch.distributed as dist
    from torch.distributed import PrefixStore  # type: ignore[attr-defined] # as above
    from torch.distributed.rendezvous import rendezvous

    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise InputError(
            f"environment variable {missing[0]}: needed by {size} processes; start them by torchrun"
        )
    try:
        store, rank, size = next(rendezvous("env://", timeout=datetime.timedelta(seconds=timeout)))
    except RuntimeError as error:  # torch's DistError is one
        raise InputError(
            f"process {rank}: no common store at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']} "
            f"within {timeout:g} s ({_first_line(error)}); have all {size} processes been started?"
        ) from error
    with _store_may_be_gone():
        session = _meet(PrefixStore("isegm", store), rank, size, timeout)
    if collectives:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore("collectives", session),
            rank=rank,
            world_size=size,
            timeout=datetime.timedelta(seconds=timeout),
        )
    processes = Processes(rank, size, local_rank, local_size, session, timeout)
    try:
        yield processes
        # A thread of gloo's may hold a tensor for a moment after a collective, and aborts the process if
        # Python ends meanwhile. But gloo of torch 2.6 may hang here where others have left already.
        if collectives and processes.all_done():
            dist.destroy_process_group()
        processes.part()
    finally:
        if collectives and device.type == "cuda" and dist.is_initialized():  # NCCL wants it in any case
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
                f"environment variable {name}: must be below the number of processes, {count}, "
                f"not {its_number}"
            )
    return rank, size, local_rank, local_size


def choose_device(
    gpus: Sequence[int] | None, *, cpu: bool, local_rank: int, local_size: int
) -> "tuple[torch.device, str | None]":
    """Choose the device that this process computes on, before anything starts.

    Args:
        gpus: GPUs of this node that may be used, one a process; None for the first ones, or for the only one
            that this process sees.
        cpu: Use the CPU whatever there is.
        local_rank: This process's number on its node.
        local_size: How many processes there are on this node.

    Returns:
        The device, and a warning if it is not what was asked for.

    Raises:
        SettingError: There are fewer GPUs than were named, or fewer than processes; or no such process.
    """
    if not 0 <= local_rank < local_size:
        raise SettingError("local_rank", f"must be from 0 to {local_size - 1}, not {local_rank}")
    import torch

    if cpu:
        return torch.device("cpu"), None
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if there == 0:
        return torch.device("cpu"), "no GPU is usable here: computing on the CPU"
    if gpus is None and there == 1:  # srun shows each process its own; without such a mask all share it
        shared = local_size > 1 and "CUDA_VISIBLE_DEVICES" not in os.environ
        warning = f"{local_size} processes share the only GPU here; one alone would use it better"
        return torch.device("cuda", 0), warning if shared else None
    wanted = list(range(local_size)) if gpus is None else list(gpus)
    missing = [gpu for gpu in wanted if gpu >= there]
    if missing:
        raise SettingError("gpus", f"GPU {missing[0]} was asked for, but there are {there}, numbered from 0")
    if local_size > len(wanted):
        raise SettingError("gpus", f"{local_size} processes need as many GPUs, not {len(wanted)}")
    return torch.device("cuda", wanted[local_rank]), None


def cores_for(local_size: int) -> int:
    """This process's share of the node's cores, when ``local_size`` processes share them; at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // local_size)
