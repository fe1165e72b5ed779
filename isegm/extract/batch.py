"""One piece of work over many volumes, in several processes, with a bar."""

import contextlib
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Generic, Protocol, TypeVar

from tqdm import tqdm

from isegm.errors import InputError, InputWarning, SettingError, describe, warn_together


class VolumeJob(Protocol):
    """What is to be done with one volume; it travels to another process, so it must pickle."""

    @property
    def path(self) -> Path:
        """The volume, as problem lines name it."""


J = TypeVar("J", bound=VolumeJob)
R = TypeVar("R")


@dataclass(frozen=True)
class JobOutcome(Generic[R]):
    """What became of a job: a result, or the problem in one line.

    Attributes:
        result: What the work returned; None when there is a problem.
        problem: ``file: reason``; empty when there is a result.
        warnings: What it warned of.
    """

    result: R | None
    problem: str = ""
    warnings: tuple[Warning, ...] = ()


def run_batch(
    work: Callable[[J], R], jobs: Sequence[J], workers: int | None, title: str
) -> Iterator[tuple[int, JobOutcome[R]]]:
    """Do ``work(job)`` for every job; a job that fails does not keep the others from being done.

    ``InputError``, ``OSError`` and ``MemoryError`` become problems, and so does the death of the process
    that a job ran in (which is how Linux ends one that takes too much memory). With one worker, or one job,
    the work is done in this process.

    Args:
        work: A module's function, so that other processes can find it.
        jobs: In the order of their indices.
        workers: Processes at most; by default one a core.
        title: Stands before the bar, which is shown on stderr where that is a terminal.

    Yields:
        The job's index and its outcome, as jobs are done.

    Warns:
        Whatever the jobs warned of, in their order, at the end: see :func:`isegm.errors.warn_together`.

    Raises:
        InputError: ``workers`` is below 1.
    """
    if workers is not None and workers < 1:
        raise SettingError("workers", f"must be at least 1, not {workers}")
    processes = min(workers or _cores(), len(jobs))
    done = _here(work, jobs) if processes <= 1 else _in_processes(work, jobs, processes)
    held: dict[int, tuple[Warning, ...]] = {}
    try:
        for index, outcome in tqdm(done, desc=title, total=len(jobs), unit="volume", disable=None):
            held[index] = outcome.warnings
            yield index, outcome
    finally:
        warn_together(warning for index in sorted(held) for warning in held[index])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _here(work: Callable[[J], R], jobs: Sequence[J]) -> Iterator[tuple[int, JobOutcome[R]]]:
    for index, job in enumerate(jobs):
        yield index, _attempt(work, job)


def _in_processes(
    work: Callable[[J], R], jobs: Sequence[J], processes: int
) -> Iterator[tuple[int, JobOutcome[R]]]:
    lost = []
    with _pool(processes) as pool:
        with _ctrl_c_held_back():
            futures: dict[Future[JobOutcome[R]], int] = {
                pool.submit(_attempt_as_worker, work, job): index for index, job in enumerate(jobs)
            }
        try:
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except BrokenProcessPool:
                    lost.append(futures[future])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    # The death of one process takes the whole pool with it. Alone, only the job that killed it dies again.
    for index in sorted(lost):
        with _pool(1) as pool:
            try:
                with _ctrl_c_held_back():
                    future = pool.submit(_attempt_as_worker, work, jobs[index])
                yield index, future.result()
            except BrokenProcessPool:
                yield (
                    index,
                    JobOutcome(None, f"{jobs[index].path}: its process was killed; is there enough memory?"),
                )


def _pool(processes: int) -> ProcessPoolExecutor:
    # Spawned, not forked: forking a process that has threads (OpenCV's, the bar's) can hang.
    return ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker
    )


class _Stopped(BaseException):
    """Raised in a worker that is to end at once, so that it leaves no unfinished files."""


_is_working = False


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Hold Ctrl-C back, from processes started meanwhile for good.

    It reaches every process of the terminal, and only the parent is to answer it: a worker that has not
    got as far as ``_prepare_worker`` would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what a signal handler is given
    if _is_working:
        raise _Stopped
    os._exit(1)


def _attempt_as_worker(work: Callable[[J], R], job: J) -> JobOutcome[R]:
    global _is_working
    _is_working = True
    try:
        return _attempt(work, job)
    except _Stopped:
        os._exit(1)
    finally:
        _is_working = False


def _attempt(work: Callable[[J], R], job: J) -> JobOutcome[R]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        outcome = _result_or_problem(work, job)
    messages = [one.message for one in caught]
    return replace(outcome, warnings=tuple(one for one in messages if isinstance(one, Warning)))


def _result_or_problem(work: Callable[[J], R], job: J) -> JobOutcome[R]:
    try:
        return JobOutcome(work(job))
    except InputError as error:
        return JobOutcome(None, str(error))
    except OSError as error:
        return JobOutcome(None, describe(error, job.path))
    except MemoryError:
        return JobOutcome(None, f"{job.path}: not enough memory; try fewer workers")
