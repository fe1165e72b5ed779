"""Evaluating a data set on many processes, and on several threads of each.

On a CPU every sample is computed by one thread, and several samples at once: the last bits of a convolution
depend on how many threads share it, and a correction head that ranks pixels can turn them into another mask.
So the results are the same on any number of processes and cores. It is faster, too, than sharing out each
layer of one network among the cores. On a GPU, many samples' clicks are computed in one batch.

Whatever goes wrong in one sample, memory included, is that sample's failure; what cannot be kept, because the
disk is full, say, ends the run.
"""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar
from typing import Protocol as Interface

import cv2
import torch

from isegm.datasets import Sample, SampleSet
from isegm.distributed import Processes, SignsOfLife, cores_for
from isegm.errors import InputError, is_out_of_memory
from isegm.evaluation.click_loop import SamplePictures, evaluate_sample
from isegm.evaluation.protocol import Clicking, Protocol
from isegm.evaluation.record import SampleFailure, SampleOutcome, SampleResult
from isegm.inference.batching import BatchedNetwork
from isegm.inference.network import Network
from isegm.inference.predictor import Predictor
from isegm.inference.progressive_merge import MergingSegmenter
from isegm.inference.segmenter import Segmenter
from isegm.metrics.noc import noc

MAX_THREADS = 16
"""Samples at once in one process: beyond this Python's own lock, and memory, cost more than cores bring."""

NOT_ENOUGH_MEMORY = "not enough memory; use fewer processes or samples at once, or a larger machine"
"""The problem of a sample that memory did not suffice for."""

_ONE_DONE = 1 << 32
"""Samples and clicks are counted in one counter, by one request: a sample counts for this, a click for 1."""

_LOOK_SECONDS = 0.2
"""How often the main thread looks how the work goes."""

_LOGGER = logging.getLogger(__name__)


SampleT = TypeVar("SampleT")
SampleT_contra = TypeVar("SampleT_contra", contravariant=True)
SegmenterT = TypeVar("SegmenterT")
MasksT = TypeVar("MasksT")
MasksT_contra = TypeVar("MasksT_contra", contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Task(Generic[SampleT]):
    """Samples of a data set that are to be evaluated; the same in every process."""

    key: str
    """A name for this part of the run, unique in it."""
    dataset: SampleSet[SampleT]
    """Where the samples come from."""
    indices: Sequence[int]
    """The samples, by number."""
    protocol: Clicking
    """How to evaluate."""
    seed: int = 0
    """Which of the protocol's users clicks."""


@dataclass(frozen=True, kw_only=True)
class Method(Generic[SegmenterT, SampleT, MasksT]):
    """A way to segment, a network or a baseline, and how it is evaluated."""

    new_segmenter: Callable[[SampleSet[SampleT]], SegmenterT]
    """Makes a segmenter for a data set's samples, set up as the protocol says; each thread has its own."""
    evaluate: Callable[[SegmenterT, SampleT, int], tuple[SampleResult, MasksT]]
    """Evaluates a sample as clicked on by the user of a seed; returns the figures and the final mask."""
    device: torch.device
    """The device that it computes on."""
    batched: BatchedNetwork | None = None
    """The network that the segmenters share where several samples are computed in one batch."""


class Keeper(Interface[SampleT_contra, MasksT_contra]):
    """Keeps the samples that a process has evaluated; it is called from several threads."""

    def keep(self, index: int, sample: SampleT_contra, result: SampleResult, masks: MasksT_contra) -> None:
        """Keep a sample's result; the next one begins when this has returned."""
        ...

    def keep_failure(self, index: int, failure: SampleFailure) -> None:
        """Keep why a sample has no result."""
        ...


class Results:
    """Keeps results in memory.

    Attributes:
        results: Each sample's outcome, by number.
    """

    def __init__(self) -> None:
        self.results: dict[int, SampleOutcome] = {}

    def keep(self, index: int, sample: object, result: SampleResult, masks: object) -> None:  # noqa: ARG002
        """Keep a result."""
        self.results[index] = result

    def keep_failure(self, index: int, failure: SampleFailure) -> None:
        """Keep why there is none."""
        self.results[index] = failure


class Progress(NamedTuple):
    """How far a data set is, counting all processes' samples.

    Attributes:
        dataset: The data set's name.
        done: Samples with an outcome, those of earlier starts included.
        total: All samples.
        figure: The NoC so far, in words; empty where there is none yet.
    """

    dataset: str
    done: int
    total: int
    figure: str


def samples_at_once(device: torch.device, processes: Processes) -> int:
    """How many samples this process works on at a time: one on a GPU, one a core of its share on the CPU."""
    return min(MAX_THREADS, cores_for(processes.local_size)) if device.type == "cpu" else 1


def predictor_for(network: Network, dataset: SampleSet[Sample], protocol: Protocol) -> Segmenter:
    """The predictor of a network, set up as the protocol says."""
    predictor = Predictor(
        network,
        size=protocol.size(dataset.name),
        flip=protocol.flip,
        threshold=protocol.thresh,
        clicks_limit=protocol.clicks_limit,
    )
    return MergingSegmenter(predictor) if protocol.initial_masks == "merged" else predictor


def method_of(
    network: Network, protocol: Protocol, device: torch.device, batch: int = 1
) -> Method[Segmenter, Sample, SamplePictures]:
    """A network as the protocol sets it up, with the clicks of ``batch`` samples computed at once."""
    batched = BatchedNetwork(network, batch) if batch > 1 else None
    return Method(
        new_segmenter=lambda dataset: predictor_for(batched or network, dataset, protocol),
        evaluate=lambda segmenter, sample, seed: evaluate_sample(segmenter, sample, protocol, seed),
        device=device,
        batched=batched,
    )


def shown_threshold(protocol: Clicking) -> float:
    """Which NoC the progress shows: that of the target, or of 0.9 where clicks go on beyond it."""
    return min(protocol.target, 0.9)


def evaluate_dataset(
    task: Task[SampleT],
    method: Method[SegmenterT, SampleT, MasksT],
    processes: Processes,
    keeper: Keeper[SampleT, MasksT],
    show: Callable[[Progress], None] = lambda _: None,
) -> None:
    """Evaluate samples of a data set together with the run's other processes.

    When it returns in process 0, all of them have been kept; in the others, when no sample is left to take.

    Args:
        task: The samples, and how to evaluate them.
        method: The segmenters.
        processes: The run's processes.
        keeper: Keeps the outcomes of this process's samples.
        show: Is given the progress several times a second, in process 0.

    Raises:
        InputError: Another process gave no sign of life for as long as the timeout says.
        OSError: A result cannot be kept.
        KeyboardInterrupt: Ctrl-C came. The samples that were under way have been kept.
    """
    tally = _Tally(processes, task)
    watch = _Watch(processes, tally, len(task.indices))

    def look() -> None:
        watch.look()
        if processes.rank == 0:
            show(tally.progress())

    with one_thread_a_sample() if method.device.type == "cpu" else contextlib.nullcontext():
        workers = _Workers(task, method, processes, keeper, tally)
        try:
            while workers.at_work(_LOOK_SECONDS):
                look()
        except KeyboardInterrupt:
            workers.end()
            raise
        workers.raise_error()
        tally.leave()
        while processes.rank == 0:
            look()
            if watch.finished:
                break
            time.sleep(_LOOK_SECONDS)


@contextlib.contextmanager
def one_thread_a_sample() -> Iterator[None]:
    """Let this thread, and those that begin within, compute each by itself.

    ``torch.set_num_threads`` holds for the calling thread and for all that have not computed anything yet;
    OpenCV's holds for the process.
    """
    torch_threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(torch_threads)
        cv2.setNumThreads(cv2_threads)


class _Workers(Generic[SegmenterT, SampleT, MasksT]):
    """This process's threads, which take samples until none is left; they begin at once."""

    def __init__(
        self,
        task: Task[SampleT],
        method: Method[SegmenterT, SampleT, MasksT],
        processes: Processes,
        keeper: Keeper[SampleT, MasksT],
        tally: "_Tally",
    ) -> None:
        self._task = task
        self._method = method
        self._processes = processes
        self._keeper = keeper
        self._tally = tally
        self._errors: list[BaseException] = []
        self._stop = threading.Event()
        self._gate = _Gate()
        batched = method.batched
        count = batched.size if batched else samples_at_once(method.device, processes)
        # Not Thread.join: a signal during it makes Python 3.11 take the thread for ended.
        self._ended = [threading.Event() for _ in range(count)]
        for ended in self._ended:
            # A daemon: one that hangs must not keep the process from ending.
            threading.Thread(target=self._work, args=(ended,), daemon=True).start()

    def at_work(self, seconds: float) -> bool:
        """Wait a while; tell whether a thread is still at work, and none has ended with an error."""
        for ended in self._ended:
            if not ended.wait(seconds):
                return not self._errors
        return False

    def end(self) -> None:
        """Let each thread end with the sample it is at, which is kept."""
        self._stop.set()
        for ended in self._ended:
            ended.wait()

    def raise_error(self) -> None:
        """End, and raise the error that a thread has ended with, if one has."""
        if self._errors:
            self.end()
            raise self._errors[0]

    def _work(self, ended: threading.Event) -> None:
        try:
            self._take_samples()
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._errors.append(error)
            self._stop.set()
        finally:
            ended.set()

    def _take_samples(self) -> None:
        task, batched = self._task, self._method.batched
        segmenter = self._method.new_segmenter(task.dataset)
        with batched.member() if batched else contextlib.nullcontext():
            for number in self._processes.hand_out(task.key, len(task.indices)):
                index = task.indices[number]
                self._tally.begin(task.dataset.names[index])
                self._tally.end(self._evaluate(segmenter, index))
                if self._stop.is_set():
                    return
        self._tally.tell()

    def _evaluate(self, segmenter: SegmenterT, index: int) -> SampleResult | None:
        """Evaluate a sample and keep its result, or why there is none.

        Where memory does not suffice, other samples may have taken it: then once more, without any other. In
        a batch there are always others.
        """
        dataset, problem = self._task.dataset, ""
        crowded = len(self._ended) > 1 and self._method.batched is None
        for admitted in [self._gate.together] + [self._gate.alone] * crowded:
            try:
                with admitted():
                    return self._attempt(segmenter, index)
            except OSError:  # it cannot be kept; what cannot be read is an InputError
                raise
            except Exception as error:
                problem = problem_of(error, dataset.records[index].files)
                _LOGGER.debug("%s", problem, exc_info=error)
                if not is_out_of_memory(error):
                    break
        self._keeper.keep_failure(index, SampleFailure(dataset.names[index], problem))
        return None

    def _attempt(self, segmenter: SegmenterT, index: int) -> SampleResult:
        sample = self._task.dataset[index]
        result, masks = self._method.evaluate(segmenter, sample, self._task.seed)
        self._keeper.keep(index, sample, result, masks)
        return result


class _Gate:
    """Admits any number of threads together, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._closed = False

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Be one of those inside."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody in any more, and be inside as soon as all others have left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._closed = False
                self._changed.notify_all()


def problem_of(error: Exception, files: Sequence[Path]) -> str:
    """One line that says what went wrong in a sample.

    Args:
        error: The exception that was raised.
        files: The sample's files, the image first: the line names one of them.
    """
    if isinstance(error, InputError):
        said = "; ".join(error.lines)
    elif is_out_of_memory(error):
        said = NOT_ENOUGH_MEMORY
    else:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        said = f"evaluating it failed ({type(error).__name__}: {reason}); try again, or report it"
    return said if any(str(file) in said for file in files) else f"{files[0]}: {said}"


class _Tally:
    """The state of a task, shared through the processes' store: who is at which sample, and what is done."""

    def __init__(self, processes: Processes, task: Task[SampleT]) -> None:
        self._processes = processes
        self._task = task
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()

    def begin(self, name: str) -> None:
        """Note that the calling thread begins with a sample."""
        with self._lock:
            self._names[threading.get_ident()] = name
            self._note()

    def end(self, result: SampleResult | None) -> None:
        """Note that it has ended with it; the others learn of it with the next one, or by :meth:`tell`."""
        with self._lock:
            del self._names[threading.get_ident()]
        if result is None:
            self._processes.add(f"{self._task.key}/failed")
        clicks = 0
        if result is not None:
            most = max(self._task.protocol.n_clicks, len(result.scores))
            clicks = noc(result.scores, shown_threshold(self._task.protocol), most)
        self._processes.add(f"{self._task.key}/progress", _ONE_DONE + clicks)

    def tell(self) -> None:
        """Tell the others what is under way now."""
        with self._lock:
            self._note()

    def leave(self) -> None:
        """Tell the others that this process has ended with the task."""
        self._processes.note(f"{self._task.key}/at", json.dumps(None))

    def done(self) -> tuple[int, int]:
        """How many samples are done, and their clicks in all."""
        return divmod(self._processes.add(f"{self._task.key}/progress", 0), _ONE_DONE)

    def progress(self) -> Progress:
        """How far the data set is."""
        task, (done, clicks) = self._task, self.done()
        solved = done - self._processes.add(f"{task.key}/failed", 0)
        noc_so_far = (
            f"NoC@{shown_threshold(task.protocol) * 100:g} {clicks / solved:.2f}" if solved > 0 else ""
        )
        total = len(task.dataset)
        return Progress(task.dataset.name, total - len(task.indices) + done, total, noc_so_far)

    def who_is_where(self) -> str:
        """Name the samples that processes are at, of those that have not ended with the task."""
        places = []
        for rank in range(self._processes.size):
            text = self._processes.noted(f"{self._task.key}/at", rank)
            at = json.loads(text) if text else []
            if at is not None:
                where = f"{self._task.key} {', '.join(at)}" if at else f"no sample of {self._task.key}"
                places.append(f"{self._processes.name_of(rank)} is at {where}")
        return "; ".join(places) or f"all processes have left {self._task.key}"

    def _note(self) -> None:
        self._processes.note(f"{self._task.key}/at", json.dumps(sorted(self._names.values())))


class _Watch:
    """Notices when nothing moves any more: process 0 watches all samples, the others watch process 0."""

    def __init__(self, processes: Processes, tally: _Tally, count: int) -> None:
        self._processes = processes
        self._tally = tally
        self._count = count
        self._done = 0
        self._since = time.monotonic()
        self._first = SignsOfLife(processes)

    @property
    def finished(self) -> bool:
        """Whether every sample was done when last looked at."""
        return self._done >= self._count

    def look(self) -> None:
        """Look whether anything has been done.

        Raises:
            InputError: Nothing has, for as long as the timeout says.
        """
        if self._processes.rank != 0:
            self._first.look("what is done")
            return
        self._processes.beat()
        (done, _), now = self._tally.done(), time.monotonic()
        if done != self._done:
            self._done, self._since = done, now
        elif not self.finished and now - self._since > self._processes.timeout:
            raise InputError(
                f"no sample was finished for {self._processes.timeout:g} s; {self._tally.who_is_where()}; "
                "look what holds it, or allow more time; what is done is kept"
            )
