"""Evaluating a data set on many processes, and on several threads of each.

On a CPU every sample is computed by one thread, and several samples at once: the last bits of a convolution
depend on how many threads share it, and a correction head that ranks pixels can turn them into another mask.
So the results are the same on any number of processes and cores. It is faster, too, than sharing out each
layer of one network among the cores. On a GPU, many samples' clicks are computed in one batch.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol as Interface

import cv2
import torch
from tqdm import tqdm

from isegm.datasets import Dataset, Sample
from isegm.distributed import Processes, SignsOfLife, cores_for
from isegm.errors import InputError
from isegm.evaluation.click_loop import SamplePictures, evaluate_sample
from isegm.evaluation.protocol import Protocol
from isegm.evaluation.record import SampleFailure, SampleResult
from isegm.inference.batching import BatchedNetwork
from isegm.inference.network import Network
from isegm.inference.predictor import Predictor
from isegm.inference.segmenter import Segmenter
from isegm.metrics.noc import noc

MAX_THREADS = 16
"""Samples at once in one process: beyond this Python's own lock, and memory, cost more than cores bring."""

GPU_BATCH = 16
"""Samples in a batch on a GPU where nothing else is asked for."""

_ONE_DONE = 1 << 32
"""Samples and clicks are counted in one counter, by one request: a sample counts for this, a click for 1."""

_LOOK_SECONDS = 0.2
"""How often the main thread looks how the work goes."""


class Keeper(Interface):
    """What keeps the samples that a process has evaluated; it is called from several threads."""

    def keep(self, index: int, sample: Sample, result: SampleResult, pictures: SamplePictures) -> None:
        """Keep what came of a sample; the next one begins when this has returned."""
        ...

    def keep_failure(self, index: int, failure: SampleFailure) -> None:
        """Keep why a sample has no result."""
        ...


class Results:
    """Keeps results in memory.

    Attributes:
        results: What came of each sample, by number.
    """

    def __init__(self) -> None:
        self.results: dict[int, SampleResult | SampleFailure] = {}

    def keep(self, index: int, sample: Sample, result: SampleResult, pictures: SamplePictures) -> None:  # noqa: ARG002
        """Keep a result."""
        self.results[index] = result

    def keep_failure(self, index: int, failure: SampleFailure) -> None:
        """Keep why there is none."""
        self.results[index] = failure


def samples_at_once(device: torch.device, processes: Processes) -> int:
    """How many samples this process works on at a time: one on a GPU, one a core of its share on the CPU."""
    return min(MAX_THREADS, cores_for(processes.local_size)) if device.type == "cpu" else 1


def predictor_for(network: Network, dataset: Dataset, protocol: Protocol) -> Predictor:
    """The predictor of a network, set up as the protocol says."""
    return Predictor(
        network,
        size=protocol.size(dataset.name),
        flip=protocol.flip,
        threshold=protocol.thresh,
        clicks_limit=protocol.clicks_limit,
    )


def evaluate_dataset(
    new_segmenter: Callable[[], Segmenter],
    device: torch.device,
    dataset: Dataset,
    protocol: Protocol,
    processes: Processes,
    job: str,
    missing: Sequence[int],
    keeper: Keeper,
    batched: BatchedNetwork | None = None,
    seed: int = 0,
) -> None:
    """Evaluate samples of a data set together with the run's other processes.

    When it returns in process 0, all of them have been kept; in the others, when no sample is left to take.

    Args:
        new_segmenter: Makes what segments, set up as the protocol says; each thread has its own.
        device: What it computes on.
        dataset: The samples; the same in every process.
        protocol: How to evaluate.
        processes: The run's processes.
        job: A name for this part of the run, unique in it and the same in every process.
        missing: The samples to evaluate, by number; the same in every process.
        keeper: Keeps what this process has evaluated.
        batched: What the segmenters share if as many samples as it takes shall be computed on at once.
        seed: Which of the protocol's users clicks.

    Raises:
        InputError: Another process gave no sign of life for as long as the timeout says.
        OSError: A result cannot be kept.
    """
    stop = threading.Event()
    under_way = _UnderWay(processes, job)
    errors: list[BaseException] = []

    def work() -> None:
        if device.type == "cpu":
            torch.set_num_threads(1)  # this thread's own setting
        segmenter = new_segmenter()
        with batched.member() if batched else contextlib.nullcontext():
            for number in processes.hand_out(job, len(missing)):
                index = missing[number]
                under_way.begin(dataset.names[index])
                result = _evaluate(segmenter, dataset, index, protocol, keeper, seed)
                under_way.end()
                if result is None:
                    processes.add(f"{job}/failed")
                clicks = noc(result.scores, shown_threshold(protocol), protocol.n_clicks) if result else 0
                processes.add(f"{job}/progress", _ONE_DONE + clicks)
                if stop.is_set():
                    return
        under_way.tell()

    def work_or_tell(ended: threading.Event) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            errors.append(error)
            stop.set()
        finally:
            ended.set()

    cv2.setNumThreads(1)
    workers = batched.size if batched else samples_at_once(device, processes)
    # Not Thread.join: a signal during it makes Python 3.11 take the thread for ended.
    all_ended = [threading.Event() for _ in range(workers)]
    with _Progress(processes, job, dataset, protocol, len(missing)) as progress:
        watch = _Watch(processes, job, len(missing))
        for ended in all_ended:
            # A daemon: one that hangs must not keep the process from ending.
            threading.Thread(target=work_or_tell, args=(ended,), daemon=True).start()
        try:
            for ended in all_ended:
                while not ended.wait(_LOOK_SECONDS) and not errors:
                    watch.look()
                    progress.show()
        except KeyboardInterrupt:
            _end(all_ended, stop)
            raise
        if errors:
            _end(all_ended, stop)
            raise errors[0]
        under_way.leave()
        while processes.rank == 0:
            watch.look()
            progress.show()
            if watch.finished:
                break
            time.sleep(_LOOK_SECONDS)


def _end(all_ended: Sequence[threading.Event], stop: threading.Event) -> None:
    """Let each thread end with the sample it is at, which is kept."""
    stop.set()
    for ended in all_ended:
        ended.wait()


def _evaluate(
    segmenter: Segmenter, dataset: Dataset, index: int, protocol: Protocol, keeper: Keeper, seed: int
) -> SampleResult | None:
    try:
        sample = dataset[index]
    except InputError as error:
        keeper.keep_failure(index, SampleFailure(dataset.names[index], str(error)))
        return None
    result, pictures = evaluate_sample(segmenter, sample, protocol, seed)
    keeper.keep(index, sample, result, pictures)
    return result


class _UnderWay:
    """Tells the other processes which samples this one is at, by name."""

    def __init__(self, processes: Processes, job: str) -> None:
        self._processes = processes
        self._key = f"{job}/at"
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()

    def begin(self, name: str) -> None:
        """The calling thread begins with a sample."""
        with self._lock:
            self._names[threading.get_ident()] = name
            self._note()

    def end(self) -> None:
        """It has ended with it. The others are told with the next one, or that there is none."""
        with self._lock:
            del self._names[threading.get_ident()]

    def tell(self) -> None:
        """Tell the others what is under way now."""
        with self._lock:
            self._note()

    def leave(self) -> None:
        """This process has ended with the job."""
        self._processes.note(self._key, json.dumps(None))

    def _note(self) -> None:
        self._processes.note(self._key, json.dumps(sorted(self._names.values())))


class _Watch:
    """Notices when nothing moves any more: process 0 watches all samples, the others watch process 0."""

    def __init__(self, processes: Processes, job: str, count: int) -> None:
        self._processes = processes
        self._job = job
        self._count = count
        self._done = 0
        self._since = time.monotonic()
        self._first = SignsOfLife(processes)

    @property
    def finished(self) -> bool:
        """Whether every sample was done when last looked at."""
        return self._done >= self._count

    def look(self) -> None:
        """Look what has been done.

        Raises:
            InputError: Nothing has, for as long as the timeout says.
        """
        if self._processes.rank != 0:
            self._first.look("what is done")
            return
        self._processes.beat()
        (done, _), now = _progress(self._processes, self._job), time.monotonic()
        if done != self._done:
            self._done, self._since = done, now
        elif not self.finished and now - self._since > self._processes.timeout:
            raise InputError(
                f"no sample was finished for {self._processes.timeout:g} s; {self._who_is_where()}; look "
                "what holds it, or allow more by --timeout; --resume goes on with what is missing"
            )

    def _who_is_where(self) -> str:
        """What the processes are at that have not ended with this job."""
        places = []
        for rank in range(self._processes.size):
            text = self._processes.noted(f"{self._job}/at", rank)
            at = json.loads(text) if text else []
            if at is not None:
                where = f"{self._job} {', '.join(at)}" if at else f"no sample of {self._job}"
                places.append(f"{self._processes.name_of(rank)} is at {where}")
        return "; ".join(places) or f"all processes have left {self._job}"


def _progress(processes: Processes, job: str) -> tuple[int, int]:
    """How many samples are done, and their clicks in all."""
    return divmod(processes.add(f"{job}/progress", 0), _ONE_DONE)


def shown_threshold(protocol: Protocol) -> float:
    """Which NoC the progress bar shows: that of the target, or of 0.9 where clicks go on beyond it."""
    return min(protocol.target_iou, 0.9)


class _Progress:
    """A bar on process 0 that counts all processes' samples, with the NoC so far."""

    def __init__(
        self, processes: Processes, job: str, dataset: Dataset, protocol: Protocol, missing: int
    ) -> None:
        self._processes = processes
        self._job = job
        self._label = f"NoC@{shown_threshold(protocol) * 100:g}"
        self._resumed = len(dataset) - missing
        self._bar = tqdm(
            total=len(dataset),
            initial=self._resumed,
            desc=dataset.name,
            unit="sample",
            disable=processes.rank != 0,
            leave=False,
        )

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self) -> None:
        """Bring the bar up to date."""
        if self._bar.disable:
            return
        done, clicks = _progress(self._processes, self._job)
        solved = done - self._processes.add(f"{self._job}/failed", 0)
        if solved > 0:
            self._bar.set_postfix_str(f"{self._label} {clicks / solved:.2f}", refresh=False)
        if self._resumed + done > self._bar.n:
            self._bar.update(self._resumed + done - self._bar.n)
